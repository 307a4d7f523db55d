"""Files into rows. A file is JSONL (.jsonl, .ndjson, .json: an object a line) or CSV (.csv, .tsv: a header, then rows).

Prompts. A line has one of these; what is missing of the rest comes from the defaults chosen with the file:

    messages     a list of {"role": "system" | "user" | "assistant", "content": text}, the user's last
    prompt       the text of a single message by the user, or such a list of messages
    instruction  the same, with `input` below it if there is one. Lines that share an instruction share their split
    instances    [{"input", "output"}, ...] with `instruction`, as in Self-Instruct; several make a few-shot prompt
    shots        {"instruction": text, "pairs": [{"query", "response"}, ...]}, two or more: a few-shot prompt

    system       a system message before it
    id           the prompt's id in its source, by which completions made elsewhere find it
    kind         plain, few_shot, user_based
    source       labeler, customer
    source_user  whose prompt it is: all of one person's or customer's are on one side of the split
    category     one of the ten use cases of InstructGPT
    language     a code such as en or pt-BR
    licence      (or license)
    priority     a whole number from -1000 to 1000, 0 if none is given: higher comes first, in campaigns that go by it

A prompt whose text is in use on the other side of the split is taken, but goes into quarantine.

In Self-Instruct's user-oriented tasks `motivation_app` is read as the customer. In CSV, lists and objects are JSON in
their cell, and an empty cell says nothing. The fields of completions stand in annotate/samples/importers.py.
"""
