"""Files as lines of values: every way a line can be unreadable, without losing the next one."""

import json

import pytest

from annotate.pools.importers import lines
from annotate.pools.importers.files import BadFile


def read(name, data, *, chunk=7):
    """[(number, last, fields or the problem)], with the file cut into tiny pieces"""
    data = data if isinstance(data, bytes) else data.encode()
    pieces = [data[at : at + chunk] for at in range(0, len(data), chunk)]
    return [(line.number, line.last, line.problem or line.fields) for line in lines.read(name, pieces)]


def problem(name, data):
    (found,) = [fields for _number, _last, fields in read(name, data) if isinstance(fields, str)]
    return found


def test_jsonl_is_an_object_a_line():
    assert read("a.jsonl", '{"prompt": "hé 猫"}\n\n  \n{"prompt": "b", "kind": null}') == [
        (1, 1, {"prompt": "hé 猫"}),
        (4, 4, {"prompt": "b"}),
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL", "a.ndjson", "a.json"])
def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(name):
    assert read(name, b'\xef\xbb\xbf{"prompt": "a"}\r\n\xef\xbb\xbf{"prompt": "b"}\r\n') == [
        (1, 1, {"prompt": "a"}),
        (2, 2, {"prompt": "b"}),
    ]


def test_line_separators_inside_a_text_end_no_line():
    assert read("a.jsonl", '{"prompt": "a\u2028b\u0085c"}\n') == [(1, 1, {"prompt": "a\u2028b\u0085c"})]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('"text"', "This is not a JSON object"),
        ("7", "This is not a JSON object"),
        ("null", "This is not a JSON object"),
        ('{"prompt": ', "This is not valid JSON"),
        ("prompt: hi", "This is not valid JSON"),
        ("{" + '"a": {' * 5000, "This is not valid JSON"),
        ('{"id": ' + "9" * 5000 + "}", "This is not valid JSON"),
        ('{"prompt": "a\\u0000b"}', "cannot be stored"),
        ('{"prompt": "\\ud83d"}', "cannot be stored"),
        ('{"\\ud83d": "x"}', "cannot be stored"),
        ('{"messages": [{"role": "user", "content": "a\\u0000"}]}', "cannot be stored"),
        ('{"temperature": NaN}', "cannot be stored"),
        ('{"temperature": 1e999}', "cannot be stored"),
    ],
)
def test_an_unreadable_line_is_told_and_the_next_is_read(line, sentence):
    found = read("a.jsonl", f'{line}\n{{"prompt": "next"}}\n', chunk=1000)
    assert sentence in found[0][2]
    assert found[1] == (2, 2, {"prompt": "next"})


def test_a_json_list_is_told_how_to_become_lines():
    with pytest.raises(BadFile, match="one JSON list"):
        read("a.json", '[\n{"prompt": "a"}\n]')


@pytest.mark.parametrize("name", ["a.txt", "a", "a.xlsx", "a.jsonl.gz", "jsonl"])
def test_other_files_are_refused_by_their_name(name):
    with pytest.raises(BadFile, match=r"Name the file \.jsonl or \.csv"):
        read(name, '{"prompt": "a"}')


def test_csv_has_a_header_and_its_cells_may_span_lines():
    data = 'Prompt,Source User,ID\n"Two\nlines, ""quoted""",acme,1\n\nplain,,2\n'
    assert read("a.csv", data) == [
        (2, 3, {"prompt": 'Two\nlines, "quoted"', "source_user": "acme", "id": "1"}),
        (5, 5, {"prompt": "plain", "id": "2"}),
    ]


@pytest.mark.parametrize(("name", "sign"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t")])
def test_semicolons_and_tabs_separate_too(name, sign):
    data = f"\ufeffprompt{sign}id\r\nWell, this{sign}1\r\n"
    assert read(name, data) == [(2, 2, {"prompt": "Well, this", "id": "1"})]


def test_lists_and_objects_are_json_in_their_cell():
    messages = [{"role": "user", "content": "hi"}]
    cell = json.dumps(messages).replace('"', '""')
    assert read("a.csv", f'messages,prompt\n"{cell}","{{text}} - [{{summary}}]"\n') == [
        (2, 2, {"messages": messages, "prompt": "{text} - [{summary}]"})
    ]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("a,b,c", "This row has 3 cells and the header 2"),
        ("a", "This row has 1 cells and the header 2"),
        ('"a"b,c', "This is not valid CSV"),
        ("[{],x", "This is not valid JSON"),
        ("a\x00,x", "cannot be stored"),
    ],
)
def test_an_unreadable_row_is_told_and_the_next_is_read(row, sentence):
    header = "messages,id" if row.startswith("[") else "prompt,id"
    found = read("a.csv", f'{header}\n{row}\n"[7]",2\n', chunk=1000)
    assert sentence in found[0][2]
    assert found[1][:2] == (3, 3)


def test_a_quotation_that_never_ends_is_told_where_it_began():
    found = read("a.csv", 'prompt,id\nfine,1\n"open,2\nmore\n', chunk=1000)
    assert found[0] == (2, 2, {"prompt": "fine", "id": "1"})
    assert found[1][:2] == (3, 4)
    assert "not valid CSV" in found[1][2]


@pytest.mark.parametrize("header", ["", "prompt,", "prompt,Prompt", '"prompt'])
def test_a_header_names_every_column_once(header):
    with pytest.raises(BadFile, match="The header, line 1"):
        read("a.csv", f"{header}\nhi,x\n")
