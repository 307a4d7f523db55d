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
        ('{"prompt": "a", "x": ' + "[" * 600 + "]" * 600 + "}", "nested more than 100 levels deep"),
        ('{"prompt": "a", "prompt": "b"}', "The field prompt occurs twice"),
        ('{"prompt": "a", "x": {"y": 1, "y": 2}}', "The field y occurs twice"),
    ],
)
def test_an_unreadable_line_is_told_and_the_next_is_read(line, sentence):
    found = read("a.jsonl", f'{line}\n{{"prompt": "next"}}\n', chunk=1000)
    assert sentence in found[0][2]
    assert found[1] == (2, 2, {"prompt": "next"})


@pytest.mark.parametrize(
    "field", ['"\\ud83d": "x"', '"score": NaN', '"score": 1e999', '"n": ' + "9" * 5000, '"tag": "a\\u0000"']
)
def test_what_cannot_be_stored_is_read_as_long_as_nobody_stores_it(field):
    (line,) = read("a.jsonl", f'{{"prompt": "a", {field}}}')
    assert line[2]["prompt"] == "a"


def test_a_field_that_says_the_same_twice_and_much_that_is_not_nested_are_read():
    fields = {"prompt": "a", "x": [[n] for n in range(200)]}
    assert read("a.jsonl", f'{json.dumps(fields)[:-1]}, "prompt": "a"}}', chunk=1000)[0][2] == fields


@pytest.mark.parametrize("data", ['[\n{"prompt": "a"}\n]', '\n[{"prompt": "a"}]', '\ufeff\n[{"prompt": "a"}]'])
def test_a_json_list_is_told_how_to_become_lines(data):
    with pytest.raises(BadFile, match="one JSON list"):
        read("a.json", data, chunk=1000)


def test_an_object_over_several_lines_is_told_how_to_become_one():
    with pytest.raises(BadFile, match="one JSON object over several lines"):
        read("a.json", '{\n  "prompt": "a"\n}')


@pytest.mark.parametrize("name", ["a.txt", "a", "a.xlsx", "a.jsonl.gz", "jsonl"])
def test_other_files_are_refused_by_their_name(name):
    with pytest.raises(BadFile, match="Only JSONL and CSV files"):
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


def test_a_byte_order_mark_is_removed_before_a_row_and_kept_inside_of_a_cell():
    data = '\ufeffprompt,id\n\ufeff"one\n\ufefftwo",1\n\ufeffthree,2\n'
    assert [fields["prompt"] for _number, _last, fields in read("a.csv", data)] == ["one\n\ufefftwo", "three"]


def test_lists_and_objects_are_json_in_their_cell():
    messages = [{"role": "user", "content": "hi"}]
    cell = json.dumps(messages).replace('"', '""')
    assert read("a.csv", f'messages,prompt\n"{cell}","{{text}} - [{{summary}}]"\n') == [
        (2, 2, {"messages": messages, "prompt": "{text} - [{summary}]"})
    ]


def test_a_prompt_in_a_cell_is_a_text_unless_it_is_a_list_of_messages():
    messages = [{"role": "user", "content": "hi"}]
    texts = ["[1, 2]", "[x", '[{"name": "Bo"}]', "[]"]
    rows = "".join(f'"{cell.replace(chr(34), chr(34) * 2)}",1\n' for cell in [json.dumps(messages), *texts])
    found = [fields["prompt"] for _number, _last, fields in read("a.csv", f"prompt,id\n{rows}", chunk=1000)]
    assert found == [messages, *texts]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("a,b,c", "This row has 3 cells, but the header has 2"),
        ("a", "This row has 1 cells, but the header has 2"),
        ('"a"b,c', "This is not valid CSV"),
        ("[{],x", "This is not valid JSON"),
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
    assert "Lines 3 to 4 form one row" in found[1][2]


@pytest.mark.parametrize(
    ("rows", "last"),
    [
        # The mark after inches closes the cell that the mark before Second opened.
        ('"Second,q2\nThird,q3\nFourth,q4\nFor 27",q5\n', 6),
        ('"Second,q2\nThird,\nFourth,q4\nFor 27",q5\n', 6),
        ('"Second,"q2"\nThird,q3\n', 3),
        ('"Second, and more,q2\n"Third, quoted",q3\n', 4),
    ],
)
def test_rows_that_a_missing_mark_made_one_are_told_and_none_is_a_prompt(rows, last):
    first, swallowed, *others = read("a.csv", f"prompt,id\nFirst,q1\n{rows}Last,q9\n", chunk=1000)
    assert first == (2, 2, {"prompt": "First", "id": "q1"})
    assert swallowed[:2] == (3, last) if last > 3 else swallowed[:2] == (3, 3)
    assert isinstance(swallowed[2], str)
    assert last == 3 or f"Lines 3 to {last}" in swallowed[2]
    assert others[-1][2] == {"prompt": "Last", "id": "q9"}


@pytest.mark.parametrize(
    ("data", "last"),
    [
        # A column that is mostly empty.
        ('prompt,input,id\n"B,,2\nC,,3\nD,x,4\nFor 27",,5\n', 5),
        ('prompt,id\n"B,\nC,\nD,\nFor 27",\n', 5),
        ('prompt,note,id\n"B,,\nC,,\nFor 27",,\n', 4),
        # Programs that write two ends after each line.
        ('prompt,id\n"B,2\n\nC,3\n\nFor 27",4\n\n', 6),
        # Spreadsheets that leave the delimiters of empty columns out of some rows.
        ('prompt,id,,\n"B,2\nC,3,,\nFor 27",4\n', 4),
    ],
)
def test_swallowed_rows_are_told_however_a_program_writes_empty_cells_and_lines(data, last):
    found = read("a.csv", data, chunk=1000)
    assert f"Lines 2 to {last} look like several rows" in found[0][2]


def test_a_mark_in_another_column_swallows_rows_too():
    found = read("a.csv", 'id,prompt\nq1,"First\nq2,Second\nq3,For 27"\nq4,Last\n', chunk=1000)
    assert "Lines 2 to 4 look like several rows" in found[0][2]
    assert found[1] == (5, 5, {"id": "q4", "prompt": "Last"})


@pytest.mark.parametrize(
    "text",
    [
        "Roses are red,\nviolets, I am told,\nare blue",
        "Roses are red,\nviolets are blue",
        "Sort these rows:\nanna,3\nbob,4",
        "name,age\nanna,3\nbob,4",
        "f(a, b)\ng(a, b)",
        "One, two\n\nthree",
    ],
)
def test_a_text_of_several_lines_is_one_cell(text):
    assert read("a.csv", f'prompt,id\n"{text}",1\n', chunk=1000)[0][2] == {"prompt": text, "id": "1"}


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (
            '"prompt";"notes, remarks, comments";"id"\r\nA;b;1\r\n',
            [{"prompt": "A", "notes,_remarks,_comments": "b", "id": "1"}],
        ),
        ('prompt;"notes, remarks"\nA;b\n', [{"prompt": "A", "notes,_remarks": "b"}]),
        ("sep=;\r\nprompt;id\r\nA, b;1\r\n", [{"prompt": "A, b", "id": "1"}]),
        ('"sep=|"\nprompt|id\nA|1\n', [{"prompt": "A", "id": "1"}]),
        ("prompt,id,,\nA,1,,\nB,2\n", [{"prompt": "A", "id": "1"}, {"prompt": "B", "id": "2"}]),
        ("prompt,id\nA,1,,\n", [{"prompt": "A", "id": "1"}]),
        (",prompt\n0,A\n1,B\n", [{"column_1": "0", "prompt": "A"}, {"column_1": "1", "prompt": "B"}]),
        ("prompt,id\rA,1\rB,2\r", [{"prompt": "A", "id": "1"}, {"prompt": "B", "id": "2"}]),
        ("prompt,\nA,x\n", [{"prompt": "A", "column_2": "x"}]),
        ("column_1,column_2\nA,x\n", [{"column_1": "A", "column_2": "x"}]),
    ],
)
def test_spreadsheets_write_it_in_many_ways(data, rows):
    assert [fields for _number, _last, fields in read("a.csv", data, chunk=1000)] == rows


def test_lines_after_a_named_delimiter_keep_their_numbers():
    assert read("a.csv", "sep=;\nprompt;id\nA;1\nB\n", chunk=1000)[1][:2] == (4, 4)


@pytest.mark.parametrize("header", ["", ",", "prompt,Prompt", '"prompt', '"prompt,id\nA,1\nB",2'])
def test_a_header_names_every_column_once(header):
    with pytest.raises(BadFile, match="The header in line 1"):
        read("a.csv", f"{header}\nhi,x\n")
