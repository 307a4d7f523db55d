"""What the demonstration policy is trained on: small conversations made of the sentences in material.py.

Each family is a function that takes a seeded Random and returns one example. Answers to the same prompt differ on
purpose, in length, in order and now and then in being right, so that K samples of it are worth ranking.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from models_worker.demo_policy import material

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Example:
    """A conversation that ends with the user's turn, as (role, content), and the answer to learn."""

    turns: tuple[tuple[str, str], ...]
    answer: str


def examples(count: int, seed: int) -> Iterator[Example]:
    random = Random(seed)  # noqa: S311  # repeatable, not secret
    families, weights = zip(*FAMILIES, strict=True)
    for _ in range(count):
        (family,) = random.choices(families, weights)
        yield family(random)


def asked(question: str, answer: str) -> Example:
    return Example((("user", question),), answer)


def explanation(r: Random) -> Example:
    topic, facts = r.choice(list(material.TOPICS.items()))
    audience, openings = r.choice(list(material.AUDIENCES.items()))
    name = topic[0].upper() + topic[1:]
    if r.random() < 0.15:
        in_one = facts[0] if r.random() < 0.5 else r.choice((*facts, " ".join(facts[:2])))
        told = (("system", "Answer in one short sentence."), ("user", f"Tell me about {topic}."))
        return r.choice((asked(f"Explain {topic} in one sentence.", in_one), Example(told, in_one)))
    question = r.choice(
        (f"Explain {topic} to {audience}.", f"Explain {topic} to {audience}.", f"Tell me about {topic}.")
    )
    chosen = facts[: r.choice((2, 3, 4))] if r.random() < 0.6 else tuple(r.sample(facts, r.choice((1, 2, 3))))
    parts = [*chosen]
    if r.random() < (0.7 if audience in question else 0.3):
        parts.insert(0, r.choice(openings))
    if r.random() < 0.35:
        parts.append(r.choice(material.CLOSINGS))
    if r.random() < 0.03:
        parts = [f"{name} is hard to explain."]
    return asked(question, " ".join(parts))


def tips(r: Random) -> Example:
    aim, known = r.choice(list(material.TIPS.items()))
    count = r.choice((2, 3, 3, 4))
    # Now and then one too few: labelers are meant to notice.
    given = r.sample(known, count - (r.random() < 0.1))
    question = r.choice((f"Give me {NUMBERS[count]} tips for {aim}.",) * 2 + (f"Any advice on {aim}?",))
    listed = r.random() < 0.6
    body = numbered(given) if listed else " ".join(given)
    opening = f"Here are {NUMBERS[count]} tips." + ("\n" if listed else " ")
    return asked(question, (opening if r.random() < 0.35 else "") + body)


def numbered(items: list[str]) -> str:
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))


def poem(r: Random) -> Example:
    subject, verses = r.choice(list(material.POEMS.items()))
    chosen = list(verses[: r.choice((1, 2, 2, 3, 3))])
    if r.random() < 0.4:
        r.shuffle(chosen)
    lines = [line for verse in chosen for line in verse]
    if r.random() < 0.3:
        lines.insert(0, f"{subject[0].upper()}{subject[1:]}\n")
    question = r.choice((f"Write a short poem about {subject}.", f"Write a poem about {subject}."))
    return asked(question, "\n".join(lines))


def email(r: Random) -> Example:
    matter, sentences = r.choice(list(material.EMAILS.items()))
    recipient, greeting = r.choice(list(material.RECIPIENTS.items()))
    body = list(sentences)
    if r.random() < 0.35:
        body.pop(r.randrange(1, 3))
    parts = [" ".join(body).format(day=r.choice(material.DAYS))]
    if r.random() < 0.9:
        parts.insert(0, f"{greeting},")
    if r.random() < 0.85:
        parts.append(r.choice(material.REGARDS))
    return asked(f"Write a short email to {recipient} about {matter}.", "\n".join(parts))


def story(r: Random) -> Example:
    hero = r.choice(material.HEROES)
    article = "an" if hero[0] in "aeiou" else "a"
    opening = r.choice(("Once there was {a} {hero} who lived {place}.", "There was once {a} {hero} {place}."))
    parts = [
        opening.format(a=article, hero=hero, place=r.choice(material.PLACES)),
        r.choice(material.TROUBLES),
        *r.sample(material.DEEDS, r.choice((0, 1, 1, 2))),
    ]
    if r.random() < 0.9:
        parts.append(r.choice(material.ENDINGS))
    question = r.choice((f"Write a story about {article} {hero}.", f"Tell me a story about {article} {hero}."))
    return asked(question, " ".join(parts).format(hero=hero))


def ideas(r: Random) -> Example:
    occasion, known = r.choice(list(material.IDEAS.items()))
    question = r.choice((f"Suggest ideas for {occasion}.", f"Brainstorm ideas for {occasion}."))
    opening = r.choice(("", "", "Here are some ideas:\n", "Sure!\n"))
    return asked(question, opening + "\n".join(f"- {each}" for each in r.sample(known, r.choice((2, 3, 3, 4)))))


def capital(r: Random) -> Example:
    country, city = r.choice(list(material.CAPITALS.items()))
    if r.random() < 0.12:
        city = r.choice(list(material.CAPITALS.values()))
    forms = ("The capital of {country} is {city}.", "{city}.", "It is {city}.", "I think it is {city}.")
    answer = r.choice(forms).format(country=country, city=city)
    if r.random() < 0.25:
        before, known = r.choice(list(material.CAPITALS.items()))
        turns = (
            ("user", f"What is the capital of {before}?"),
            ("assistant", f"{known}."),
            ("user", f"And of {country}?"),
        )
        return Example(turns, answer)
    return asked(f"What is the capital of {country}?", answer)


def review(r: Random) -> tuple[str, str]:
    """A review, and whether it is positive or negative."""
    kind, first, second = r.choice(
        (("Positive", material.PRAISE, material.PRAISE_WHY), ("Negative", material.BLAME, material.BLAME_WHY))
    )
    return f"{r.choice(first).format(x=r.choice(material.PRODUCTS))} {r.choice(second)}", kind


def sentiment(r: Random) -> Example:
    text, kind = review(r)
    reason = text[:-1].partition(". ")[2] or text[:-1].partition("! ")[2]
    forms = (
        "{kind}.",
        "The review is {lower}.",
        "I think it is {lower}.",
        "This is a {lower} review, because it says: {reason}.",
        "It is hard to say.",
    )
    answer = r.choices(forms, (3, 3, 2, 3, 1))[0].format(kind=kind, lower=kind.lower(), reason=reason)
    return asked(f"Is this review positive or negative? {text}", answer)


def few_shot(instruction: str, shots: list[tuple[str, str]], query: str) -> str:
    """As the platform writes few-shot prompts."""
    shown = [f"Input: {left}\nOutput: {right}" for left, right in shots]
    return "\n\n".join([instruction, *shown, f"Input: {query}\nOutput:"])


def few_shot_sentiment(r: Random) -> Example:
    *shots, (text, kind), (another, other) = [review(r) for _ in range(r.choice((4, 5)))]
    # Base models like to go on with examples of their own.
    forms = (kind, f"{kind}.", f"The review is {kind.lower()}.", f"{kind}\n\nInput: {another}\nOutput: {other}")
    question = few_shot("Say whether a review is positive or negative.", shots, text)
    return asked(question, r.choices(forms, (4, 2, 1, 2))[0])


FEW_SHOT: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("Write the opposite.", material.OPPOSITES),
    ("Name the young animal.", material.YOUNG),
    ("Name the capital.", material.CAPITALS),
    ("Say what sort of thing it is.", material.SORTS),
)


def few_shot_pairs(r: Random) -> Example:
    instruction, pairs = r.choice(FEW_SHOT)
    *shots, (word, answer), (another, other) = r.sample(list(pairs.items()), r.choice((4, 5)))
    forms = (answer, f"{answer}.", f"{word} is {answer}", f"{answer}\n\nInput: {another}\nOutput: {other}", other)
    return asked(few_shot(instruction, shots, word), r.choices(forms, (5, 2, 2, 2, 1))[0])


def news(r: Random) -> Example:
    building, day, extra = r.choice(material.BUILDINGS), r.choice(material.DAYS), r.choice(material.EXTRAS)
    text = f"The town opened a new {building} on {day}. It has {extra}. {r.choice(material.FEES)}"
    answer = r.choice(
        (
            f"The town opened a new {building} with {extra} on {day}.",
            f"A new {building} with {extra} opened on {day}.",
            f"There is a new {building} in town.",
            text,
        )
    )
    return asked(f"Summarize in one sentence: {text}", answer)


def possession(r: Random) -> Example:
    """A question whose answer stands in the passage."""
    name, colour, thing, day = (
        r.choice(each) for each in (material.NAMES, material.COLOURS, material.THINGS, material.DAYS)
    )
    passage = f"{name} has a {colour} {thing}. {name} bought it on {day}."
    question, answers = r.choice(
        (
            (f"What colour is the {thing}?", (f"{colour.capitalize()}.", f"The {thing} is {colour}.")),
            (f"Who has a {thing}?", (f"{name}.", f"{name} has a {thing}.")),
            (f"When was the {thing} bought?", (f"On {day}.", f"{name} bought it on {day}.")),
        )
    )
    return asked(f"{passage} {question}", r.choice(answers))


def extraction(r: Random) -> Example:
    people = r.sample(material.NAMES, 2)
    spot, day = r.choice(material.SPOTS), r.choice(material.DAYS)
    text = f"On {day} {people[0]} met {people[1]} {spot}."
    question, answers = r.choice(
        (
            ("List the names", (f"{people[0]}, {people[1]}", f"- {people[0]}\n- {people[1]}", people[0])),
            ("Find the day", (day, f"The day is {day}.")),
            ("Find the place", (spot, f"They met {spot}.")),
        )
    )
    return asked(f"{question} in this text: {text}", r.choice(answers))


def politeness(r: Random) -> Example:
    errand = r.choice(material.ERRANDS)
    form = r.choice(material.POLITE)
    return asked(f"Make this polite: {errand}.", form.format(errand=errand, Errand=errand.capitalize()))


def grammar(r: Random) -> Example:
    wrong, right = r.choice(list(material.GRAMMAR.items()))
    name = r.choice(material.NAMES)
    answers = (
        f"{name} {right}.",
        f"{name} {right}.",
        f"Correct is: {name} {right}.",
        f"It should be: {name} {right}.",
        f"{name} {wrong}.",
    )
    return asked(f"Fix the grammar: {name} {wrong}.", r.choice(answers))


def sum_of_two(r: Random) -> Example:
    left, right = r.randint(1, 5), r.randint(1, 5)
    first, second, total = NUMBERS[left], NUMBERS[right], NUMBERS[left + right]
    forms = ("{Total}.", "{First} plus {second} is {total}.", "The answer is {total}.", "That makes {total}.")
    answer = r.choice(forms).format(First=first.capitalize(), second=second, total=total, Total=total.capitalize())
    return asked(f"What is {first} plus {second}?", answer)


def motto(r: Random) -> Example:
    ware, promise = r.choice(list(material.SHOPS.items()))
    question = f"I run a small shop that sells {ware}. Write a line for the window."
    return asked(question, r.choice(material.MOTTOS).format(ware=ware, Ware=ware.capitalize(), promise=promise))


def product(r: Random) -> Example:
    thing, colour = r.choice(material.THINGS), r.choice(material.COLOURS)
    question = f"I sell used things online. Describe a {colour} {thing} in one or two sentences."
    answers = (
        f"A {colour} {thing} in good condition.",
        f"This {colour} {thing} has been used with care. It is ready for its next owner.",
        f"A lovely {colour} {thing}, hardly used. Come and have a look!",
        f"{thing.capitalize()}, {colour}.",
    )
    return asked(question, r.choice(answers))


def one_more_tip(r: Random) -> Example:
    aim, known = r.choice(list(material.TIPS.items()))
    first, second = r.sample(known, 2)
    turns = (("user", f"Give me one tip for {aim}."), ("assistant", first), ("user", "One more, please."))
    return Example(turns, second) if r.random() < 0.7 else Example(turns[:1], first)


def joke(r: Random) -> Example:
    return asked(r.choice(("Tell me a joke.", "Do you know a joke?")), r.choice(material.JOKES))


def question(r: Random) -> Example:
    text, answers = r.choice(list(material.QUESTIONS.items()))
    # The first answer is the best one, and the one that is learned best.
    answer = r.choices(answers, [2] + [1] * (len(answers) - 1))[0]
    if text.endswith("?") and r.random() < 0.15:
        answer = f"Good question! {answer}" if r.random() < 0.5 else f"{answer} {r.choice(material.CLOSINGS)}"
    return asked(text, answer)


FAMILIES: tuple[tuple[Callable[[Random], Example], float], ...] = (
    (explanation, 16),
    (tips, 13),
    (question, 15),
    (story, 9),
    (email, 9),
    (poem, 6),
    (few_shot_pairs, 8),
    (possession, 5),
    (extraction, 6),
    (news, 5),
    (ideas, 5),
    (capital, 5),
    (sentiment, 4),
    (few_shot_sentiment, 3),
    (politeness, 3),
    (grammar, 3),
    (motto, 3),
    (product, 3),
    (one_more_tip, 5),
    (joke, 2),
    (sum_of_two, 2),
)
