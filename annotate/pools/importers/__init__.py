"""Files into rows. A file is JSONL (.jsonl, .ndjson, .json: an object a line) or CSV (.csv, .tsv: a header, then rows).

Prompts. A line has one of these; what is missing of the rest comes from the defaults chosen with the file:

    messages     a list of {"role": "system" | "user" | "assistant", "content": text}, the user's last. A content may be
                 a list of {"type": "text", "text": text}, which become the lines of one text
    prompt       the text of a single message by the user, or such a list of messages
    question     the same as a prompt that is a text, where the line has no other
    instruction  the same. Lines that share an instruction share their split
    instances    [{"input", "output"}, ...] with `instruction`, as in Self-Instruct; several make a few-shot prompt
    shots        {"instruction": text, "pairs": [{"query", "response"}, ...]}, two or more: a few-shot prompt

What else belongs to the prompt's messages:

    input        a text below a prompt or instruction, after a blank line
    context      the same, below the input if there is one
    history      earlier turns: [[question, answer], ...] or messages
    system       (or system_prompt) a system message before all of it

What is kept with it:

    output       (or response, completion, reference, answer, answers; of a single instance its output) the answer that
                 came with the prompt: kept as it is, as its reference, which labelers do not see
    id           (or external_id, prompt_id) the prompt's id in its source, by which completions made elsewhere find it
    kind         (or prompt_kind) plain, few_shot, user_based
    source       labeler, customer
    source_user  (or motivation_app, which makes the source customer) whose prompt it is: all of one person's or
                 customer's are on one side of the split
    category     one of the ten use cases of InstructGPT
    language     (or lang) a BCP 47 tag such as en or pt-BR
    licence      (or license)
    priority     a whole number from -1000 to 1000, 0 if none is given: higher comes first, in campaigns that go by it
    split        train or valid: the side of a prompt that was exported before. Its group gets that side where it is
                 new; if it is on the other side, the line is refused, and so are other values
    group        with a split, what it was exported with: the prompts of a group stay together

A line whose fields contradict each other, or that has one field twice with two values, is refused. A field that is
not named here is left out. If it holds more than numbers, truth values and nothing, no line is taken before somebody
decided to leave it out (losses.py): on the page of the import, or with --ignore FIELD. Fields inside of messages and
instances count, as `messages.name`. What cannot be stored in a field that is left out does not matter.

A prompt whose text is in use on the other side of the split is taken, but goes into quarantine.

In CSV, lists and objects are JSON in their cell, where a prompt is a text unless it is a list of messages, and an empty
cell says nothing. A line `sep=;` before the header names the delimiter. Columns without a name, such as a data frame's
index, are `column_1` by their place. The fields of completions are described in annotate/samples/importers.py.
"""
