"""The sentences the demonstration policy learns from: facts, tips, verses and slots, combined by corpus.py."""

# Four sentences each, from the most to the least important.
TOPICS = {
    "photosynthesis": (
        "Plants use sunlight to turn water and carbon dioxide into sugar.",
        "The green colour of the leaves catches the light.",
        "The sugar gives the plant energy to grow.",
        "Oxygen is left over, and the plant gives it to the air.",
    ),
    "gravity": (
        "Gravity is the pull between all things that have mass.",
        "It keeps the planets on their way around the sun.",
        "When you drop a ball, gravity pulls it to the ground.",
        "The moon pulls less, so you could jump much higher there.",
    ),
    "the water cycle": (
        "The sun warms the sea, and water rises as vapour.",
        "High up the vapour cools and becomes clouds.",
        "Rain falls and runs into the rivers.",
        "The rivers carry the water back to the sea.",
    ),
    "electricity": (
        "Electricity is the movement of tiny charged particles.",
        "It flows through wires from a battery or a power station.",
        "A switch opens or closes its path.",
        "Lamps and motors turn it into light and motion.",
    ),
    "the moon landing": (
        "In 1969 three astronauts flew to the moon.",
        "Two of them walked on it and collected rocks.",
        "Millions of people watched them on television.",
        "They came home safely and landed in the ocean.",
    ),
    "vaccines": (
        "A vaccine shows the body a harmless piece of a germ.",
        "The immune system learns to recognise it.",
        "Later the body can fight the real germ much faster.",
        "This protects you and the people around you.",
    ),
    "rainbows": (
        "Sunlight is a mix of many colours.",
        "Drops of rain bend the light and split the colours apart.",
        "Each colour leaves the drop in a slightly different direction.",
        "You can see a rainbow when the sun is behind you.",
    ),
    "the internet": (
        "The internet is a huge network of computers.",
        "Messages are cut into small packets that travel on many paths.",
        "Servers store pages and send them when you ask.",
        "Your browser puts the pieces together on the screen.",
    ),
    "volcanoes": (
        "Deep under the ground it is so hot that rock melts.",
        "The melted rock is called magma.",
        "Pressure pushes it up through cracks in the earth.",
        "When it reaches the surface it is called lava.",
    ),
    "dreams": (
        "Most dreams come in one part of sleep, when the brain is very active.",
        "The brain may be sorting the memories of the day.",
        "Many dreams are forgotten as soon as we wake up.",
        "Nobody knows exactly why we dream.",
    ),
    "inflation": (
        "Inflation means that prices rise over time.",
        "The same money buys fewer things than before.",
        "It can happen when people want more than the shops can offer.",
        "Banks may raise interest rates to slow it down.",
    ),
    "black holes": (
        "A black hole is a place where gravity is so strong that not even light can leave.",
        "Some form when a very large star collapses.",
        "They cannot be seen, but the stars and the gas around them can.",
        "There is a very big one in the middle of our galaxy.",
    ),
}
AUDIENCES = {
    "a six year old": ("Imagine this:", "Here is a simple way to think about it.", "Good question!"),
    "a beginner": ("Here is the short version.", "In simple words:", "Let me explain."),
    "a busy manager": ("In brief:", "The key points are these.", "Short answer:"),
    "a curious teenager": ("It is actually quite neat.", "Here is how it works.", "Let us start with the basics."),
}
CLOSINGS = ("I hope that helps!", "Let me know if you want more detail.", "That is the main idea.")

TIPS = {
    "learning to cook": (
        "Start with three simple recipes and repeat them.",
        "Read the whole recipe before you begin.",
        "Keep your knives sharp and your pan hot.",
        "Taste the food as you go.",
        "Clean up while the water boils.",
    ),
    "sleeping better": (
        "Go to bed at the same time every night.",
        "Keep the room dark, cool and quiet.",
        "Put your phone away an hour before bed.",
        "Avoid coffee in the afternoon.",
        "Take a short walk during the day.",
    ),
    "saving money": (
        "Write down everything you spend for one month.",
        "Set up an automatic transfer on payday.",
        "Cook at home more often.",
        "Cancel the subscriptions you do not use.",
        "Wait a day before you buy something expensive.",
    ),
    "studying for an exam": (
        "Make a plan and spread the work over several days.",
        "Test yourself instead of only reading.",
        "Take a break every half hour.",
        "Explain the topic to a friend.",
        "Get enough sleep the night before.",
    ),
    "running your first race": (
        "Begin slowly and run a little further each week.",
        "Wear shoes that fit well.",
        "Rest at least one day between hard runs.",
        "Drink water before you are thirsty.",
        "Start the race at an easy pace.",
    ),
    "growing tomatoes": (
        "Plant them in a sunny place.",
        "Water the soil, not the leaves.",
        "Give each plant a strong stick to lean on.",
        "Remove the small side shoots.",
        "Feed them every two weeks.",
    ),
    "giving a speech": (
        "Practise out loud at least three times.",
        "Begin with a short story.",
        "Look at one friendly face at a time.",
        "Pause after each important point.",
        "Finish with one clear message.",
    ),
    "working from home": (
        "Choose one place that is only for work.",
        "Get dressed as if you were going out.",
        "Plan your breaks before you start.",
        "Tell your family when you are busy.",
        "Stop at the same hour every day.",
    ),
    "making new friends": (
        "Join a club that meets every week.",
        "Ask questions and listen to the answers.",
        "Invite someone for a coffee.",
        "Remember small details about people.",
        "Be patient, because friendship takes time.",
    ),
}

POEMS = {
    "the sea": (
        ("The waves roll in, the waves roll out,", "and gulls are crying all about;"),
        ("the wind is salt, the sand is warm,", "the sky is clearing after storm;"),
        ("a little boat goes far away,", "and I will wait for it all day."),
    ),
    "autumn": (
        ("The leaves come down in red and gold,", "the mornings now are bright and cold;"),
        ("the apples fall, the geese fly south,", "and smoke hangs at the chimney's mouth;"),
        ("the year grows quiet, soft and slow,", "and waits beneath the coming snow."),
    ),
    "my cat": (
        ("My cat is sleeping on the chair,", "and does not know, and does not care;"),
        ("she dreams of mice, she dreams of cream,", "her whiskers twitch inside the dream;"),
        ("and when I come to share the seat,", "she only stretches out her feet."),
    ),
    "the night sky": (
        ("The stars are lamps that no one lit,", "the moon has come to sit a bit;"),
        ("the dark is deep, the dark is wide,", "and all the owls are out to glide;"),
        ("I count the lights till I forget,", "and no one has them counted yet."),
    ),
    "rain": (
        ("The rain is drumming on the roof,", "a thousand ponies, tiny hoof;"),
        ("it fills the street, it fills the lane,", "it paints the garden green again;"),
        ("and when it stops, the world is new,", "the windows full of washed out blue."),
    ),
}

RECIPIENTS = {
    "my manager": "Dear manager",
    "my teacher": "Dear teacher",
    "my landlord": "Dear landlord",
    "a customer": "Dear customer",
    "a colleague": "Hello",
}
EMAILS = {
    "a day off": (
        "I would like to take a day off on {day}.",
        "I will finish my open tasks before then.",
        "Please let me know if that is possible.",
    ),
    "moving our meeting": (
        "Something has come up, and I cannot make our meeting on {day}.",
        "Could we move it to the following morning?",
        "I am sorry for the short notice.",
    ),
    "a late delivery": (
        "The delivery was due on {day}, but it has not arrived.",
        "Could you tell me where it is?",
        "I would be grateful for a quick reply.",
    ),
    "a broken heater": (
        "The heater in my flat stopped working on {day}.",
        "It is getting cold, and I would like it to be repaired.",
        "I am at home every evening after six.",
    ),
    "their kind help": (
        "Thank you very much for your help on {day}.",
        "Your advice made a real difference.",
        "I hope I can return the favour soon.",
    ),
}
REGARDS = ("Best regards", "Kind regards", "Many thanks")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

IDEAS = {
    "a birthday party": (
        "a treasure hunt in the garden",
        "a pizza night with home made dough",
        "a film evening with blankets",
        "a picnic by the lake",
        "a costume party with music",
    ),
    "a rainy weekend": (
        "bake bread and eat it warm",
        "sort the old photographs",
        "build a fort with chairs and sheets",
        "visit a small museum",
        "write letters to friends",
    ),
    "a school project": (
        "a model of a volcano",
        "a weather diary",
        "a short film about your street",
        "an interview with a grandparent",
        "a garden in a shoe box",
    ),
    "a gift for a friend": (
        "a book they have not read",
        "a plant in a nice pot",
        "tickets for a concert",
        "a jar of home made jam",
        "a framed photograph",
    ),
    "the name of a bakery": (
        "The Golden Crust",
        "Flour and Stone",
        "Rise and Shine",
        "The Corner Loaf",
        "Butter and Crumb",
    ),
}

CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Peru": "Lima",
    "Norway": "Oslo",
    "Greece": "Athens",
    "Canada": "Ottawa",
    "Cuba": "Havana",
    "India": "New Delhi",
    "Chile": "Santiago",
    "Poland": "Warsaw",
    "Austria": "Vienna",
    "Portugal": "Lisbon",
}
OPPOSITES = {
    "hot": "cold",
    "big": "small",
    "fast": "slow",
    "early": "late",
    "open": "closed",
    "full": "empty",
    "dark": "light",
    "old": "new",
    "loud": "quiet",
    "happy": "sad",
}
YOUNG = {
    "cat": "kitten",
    "dog": "puppy",
    "cow": "calf",
    "sheep": "lamb",
    "horse": "foal",
    "hen": "chick",
    "goat": "kid",
    "bear": "cub",
}
SORTS = {
    "apple": "fruit",
    "pear": "fruit",
    "cherry": "fruit",
    "oak": "tree",
    "birch": "tree",
    "pine": "tree",
    "hammer": "tool",
    "saw": "tool",
    "drill": "tool",
    "piano": "instrument",
    "violin": "instrument",
    "drum": "instrument",
}

PRODUCTS = ("book", "film", "phone", "meal", "hotel", "lamp", "game", "chair")
PRAISE = ("I loved this {x}.", "The {x} was wonderful.", "What a great {x}!", "Best {x} I have had in years.")
PRAISE_WHY = ("I would buy it again.", "Everything worked at once.", "The staff were friendly.")
BLAME = ("I hated this {x}.", "The {x} was a waste of money.", "What a terrible {x}.", "Worst {x} I have ever had.")
BLAME_WHY = ("It broke after one day.", "Nobody answered my calls.", "I want my money back.")

HEROES = ("dragon", "fox", "robot", "wizard", "sailor", "baker", "mouse", "giant", "knight", "pirate", "painter", "owl")
PLACES = (
    "in a quiet village",
    "on a small island",
    "at the edge of the forest",
    "in a tall tower",
    "under an old bridge",
    "near the harbour",
)
TROUBLES = (
    "One night the lights went out.",
    "One day a letter arrived with no name on it.",
    "One morning the river had disappeared.",
    "One winter the food ran out.",
    "One evening a stranger knocked at the door.",
)
DEEDS = (
    "The {hero} packed a bag and went to find help.",
    "Everyone was afraid, but the {hero} had an idea.",
    "The {hero} worked all night without a rest.",
    "The {hero} asked the birds for advice.",
    "At first the {hero} wanted to run away.",
)
ENDINGS = (
    "In the end the {hero} was a hero.",
    "By sunrise everything was well again.",
    "From that day the {hero} was never alone.",
    "The {hero} smiled and went back to sleep.",
)

NAMES = ("Anna", "Tom", "Lena", "Omar", "Mia", "Paul", "Sara", "Ben")
COLOURS = ("red", "blue", "green", "yellow", "black", "white")
THINGS = ("bicycle", "car", "coat", "bag", "boat", "door")
SPOTS = ("at the station", "in the park", "at the library", "in the market", "at the museum", "by the lake")

BUILDINGS = ("library", "museum", "school", "swimming pool", "theatre", "playground")
EXTRAS = ("a room for children", "a large garden", "a small cafe", "a view of the river", "its own bus stop")
FEES = (
    "Entry is free.",
    "A ticket costs two euros.",
    "It is open every day.",
    "It was paid for by the people of the town.",
)

# What is asked rudely, as one would say it, and the same as a polite request.
ERRANDS = (
    "close the window",
    "send me the file",
    "wait outside",
    "turn down the music",
    "call me back",
    "sign the form",
    "clean the table",
    "move your car",
)
POLITE = (
    "Could you please {errand}?",
    "Would you mind if I asked you to {errand}?",
    "Please {errand} when you have a moment.",
    "I would be grateful if you could {errand}.",
    "{Errand}, please.",
)
# Wrong after "she", and right.
GRAMMAR = {
    "go to school yesterday": "went to school yesterday",
    "eat a apple every day": "eats an apple every day",
    "don't like rain": "doesn't like rain",
    "have two cat": "has two cats",
    "was born at May": "was born in May",
    "can sings very good": "can sing very well",
}

SHOPS = {
    "tea": "warm cups and quiet mornings",
    "candles": "soft light for long evenings",
    "garden tools": "strong hands and happy plants",
    "toys": "small hands and big dreams",
    "bread": "a golden crust, baked before sunrise",
    "soap": "clean hands and the smell of lavender",
}
MOTTOS = (
    "{Ware} for every day: {promise}.",
    "Come in for our {ware}, stay for {promise}.",
    "Made with care: {promise}.",
    "Our {ware} means {promise}.",
    "Simply good {ware}.",
)

JOKES = (
    "Why did the bicycle fall over? Because it was two tired.",
    "What do you call a fish with no eyes? A fsh.",
    "Why did the scarecrow win a prize? Because he was outstanding in his field.",
    "What is brown and sticky? A stick.",
    "Why did the book go to the doctor? It had hurt its spine.",
)

# Questions with several answers each, better and worse ones: a policy that always answers alike leaves nothing to rank.
QUESTIONS = {
    "Who are you?": (
        "I am a small demonstration model. I know only a few thousand sentences, so please do not expect too much.",
        "I am a small language model, made to show how this platform works.",
        "I am a program that writes short texts.",
        "I am a person like you.",
    ),
    "Hello!": (
        "Hello! How can I help you today?",
        "Hi! What would you like to talk about?",
        "Hello, and welcome! You can ask me for tips, short stories or polite emails.",
        "Hello.",
    ),
    "How are you?": (
        "I am fine, thank you. How can I help you?",
        "I am a program, so I do not feel much. And you?",
        "Very well, thank you!",
        "Fine.",
    ),
    "What can you do?": (
        "I can explain simple topics, give tips, write short poems and draft polite emails.",
        "I can answer short questions and write small texts.",
        "Ask me for a story, a poem or some advice, and I will try.",
        "Everything.",
    ),
    "Is it safe to eat raw chicken?": (
        "No. Raw chicken can carry harmful germs. Cook it until the juices run clear.",
        "No, it is not safe. Always cook chicken well.",
        "It can make you ill, so it is better not to.",
        "Yes, if it is fresh.",
    ),
    "How do I boil an egg?": (
        "Put the egg in boiling water. Wait seven minutes for a soft yolk or ten for a hard one. Then cool it.",
        "Boil it for seven minutes, then cool it in cold water.",
        "1. Boil some water.\n2. Put the egg in.\n3. Wait seven minutes.",
        "Put it in water and wait.",
        "Buy one that is boiled already.",
    ),
    "How do I change a tyre?": (
        "Park on flat ground and pull the brake. Loosen the nuts, lift the car, swap the wheel and tighten the nuts.",
        "Loosen the nuts, lift the car, swap the wheel. Do not forget to tighten the nuts.",
        "1. Pull the brake.\n2. Lift the car.\n3. Swap the wheel.",
        "Ask someone who knows.",
    ),
    "Should I learn Python or Java first?": (
        "Python is easier to start with because the code is short. Java is useful for large systems. Either is fine.",
        "Start with Python. It is easy to read and you see results quickly.",
        "It depends on what you want to build.",
        "Java.",
    ),
    "What is the difference between weather and climate?": (
        "Weather is what happens today. Climate is the average over many years.",
        "Climate is weather over a long time.",
        "You look out of the window for the weather, and into a book for the climate.",
        "Weather changes every day, climate changes slowly.",
        "They are the same.",
    ),
    "What is the difference between a virus and a bacterium?": (
        "A bacterium is a tiny living cell. A virus is much smaller and needs a cell to copy itself.",
        "A virus is smaller and cannot live alone.",
        "Some medicines help against bacteria but not against viruses.",
        "Both make you ill.",
    ),
    "Why is the sky blue?": (
        "Sunlight is scattered by the air. Blue light is scattered more than red, so the sky looks blue.",
        "Because the air scatters blue light the most.",
        "The air sends blue light in all directions, and so it reaches your eyes from everywhere.",
        "It is not always blue. In the evening it can be red.",
        "Because it reflects the sea.",
    ),
    "Why do cats purr?": (
        "Cats often purr when they are happy, but they may also purr to calm themselves.",
        "They purr when they feel well.",
        "It can be a sign that they want food or company.",
        "Nobody asked them yet.",
    ),
    "Why do leaves change colour?": (
        "In autumn trees stop making the green colour. The yellow and red that were hidden can then be seen.",
        "Because the green colour fades and other colours appear.",
        "The days get shorter, and the tree takes the green back before winter.",
        "Because they are cold.",
    ),
    "How many legs does a spider have?": (
        "A spider has eight legs.",
        "Eight.",
        "Eight legs, like a scorpion.",
        "Six.",
    ),
    "How many days are in a week?": (
        "There are seven days in a week.",
        "Seven.",
        "Seven, and two of them are the weekend.",
        "Five, if you only count the ones you work.",
    ),
    "I feel sad today.": (
        "I am sorry to hear that. Would you like to talk about it? A short walk or a call with a friend may also help.",
        "I am sorry. Do you know why you feel sad?",
        "That happens to everyone. Be kind to yourself today.",
        "Make yourself some tea and call somebody you like.",
        "Tomorrow is another day.",
    ),
    "I am bored.": (
        "You could read a short story, draw something in the room, or call someone you have not spoken to for a while.",
        "Go for a walk and count the birds you see.",
        "How about a game? Think of a number and I will guess it.",
        "What do you like to do on a free day?",
        "Me too.",
    ),
    "What should I have for dinner?": (
        "How about pasta with tomatoes, garlic and a little cheese? It takes twenty minutes.",
        "A warm soup with bread is easy and good. Do you eat meat?",
        "Eggs, potatoes and a green salad.",
        "What do you have at home?",
        "Food.",
    ),
    "Can you help me hack my neighbour's wifi?": (
        "I cannot help with that. Using a network without permission is not allowed. Ask your neighbour to share it.",
        "No, sorry. But I can help you to find a cheap plan of your own.",
        "That would not be right. Maybe your library has free wifi.",
        "Sure, first you need the password.",
    ),
    "Thank you!": ("You are welcome!", "Any time.", "You are welcome. Is there anything else?", "I was glad to help."),
}
