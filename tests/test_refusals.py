"""A refused option or file: the hint names what is possible."""

import pytest

from souron.cli import main
from souron.cli.app import parser
from souron.cli.parsing import arguments
from souron.data import load
from souron.data.formats import csv_table
from souron.runs import options
from souron.utils.messages import UserError


def test_an_option_with_a_dash_is_not_taken_for_a_system():
    command = parser("compare").commands["compare"]
    with pytest.raises(UserError, match="no option is named 'learning-curve'") as refused:
        arguments.rewrite("compare", command, ["mlp", "cnn", "learning-curve=0"])
    assert refused.value.fix == "souron compare --help"


def test_an_option_of_another_task_may_be_left_out():
    with pytest.raises(UserError, match="takes no folds=1") as refused:
        options.of_task("detect", {"folds": 1})
    assert "leave it out" in refused.value.fix and "conf, iou" in refused.value.fix


def test_a_table_of_numbers_is_sent_to_what_reads_it(tmp_path):
    table = tmp_path / "breast.csv"
    table.write_text("radius,texture,label\n1,2,x\n")
    with pytest.raises(UserError, match="has the columns") as refused:
        csv_table.load(table)
    assert refused.value.fix.endswith(f"souron train pca data={table}")


def test_a_file_of_another_task_is_no_archive(tmp_path):
    for name, words in (("chats.jsonl", "another task"), ("cases.zip", "unpack it")):
        (tmp_path / name).write_text("{}")
        with pytest.raises(UserError, match="not read as data of this task") as refused:
            load.load(tmp_path / name, formats=("classified_texts",))
        assert words in refused.value.fix and "classified_texts" in refused.value.expected


def test_the_notebooks_are_listed_without_a_folder(capsys):
    assert main.run(["lecture", "notebooks", "--lang", "en"]) == 0
    assert "11_boxes" in capsys.readouterr().out
