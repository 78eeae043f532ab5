import json

import pytest

from study.report import dials
from submission.errors import UserError


def test_a_data_set_that_nobody_has_audited_gets_the_audit_of_mpi3d_mini(tmp_path):
    audited = dials.read(tmp_path, "cars3d")
    assert audited.dataset == "mpi3d_mini"
    assert list(audited.metrics)[:5] == ["dci", "factor_vae_metric", "sap_score", "mig", "irs"]


def test_what_a_metric_measures_is_a_sentence_without_its_subject(tmp_path):
    mig = dials.read(tmp_path, "mpi3d_mini").metrics["mig"]
    assert mig.says == (
        "rewards compactness; is mixed on modularity, explicitness and robustness; changes where "
        "nothing is broken"
    )
    assert mig.verdicts["compactness"] == ("rewards", "falls with 3 of 3")


def test_a_dials_picture_falls_where_the_scores_do(tmp_path):
    (copied,) = (
        dial
        for dial in dials.read(tmp_path, "mpi3d_mini").metrics["mig"].dials["compactness"]
        if dial.family == "copied"
    )
    assert copied.told == "falls: 1.00 at 0, 0.00 at 3"
    (left, top), *_, (right, bottom) = copied.points
    assert (left, right) == (4, dials.WIDTH - 4)
    # Down is up in a picture.
    assert top == pytest.approx(4, abs=0.2) and bottom == pytest.approx(dials.HEIGHT - 4, abs=0.2)


def test_a_dial_without_a_score_has_a_gap_there():
    dial = dials.Dial("copied", "Latents copied", "copies", "open", (0, 1, 2), (0.5, None, 1.0))
    assert dial.points == [(4, 24), (116, 4)]
    assert dials.Dial("copied", "", "", "no verdict", (0,), (None,)).told == "no verdict"


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"metrics": []}', json.dumps({"metrics": {"mig": 1}})]
)
def test_what_lies_beside_the_page_and_is_no_audit_is_one_line(tmp_path, content):
    path = tmp_path / "audit/dials.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(UserError, match="no dials of") as error:
        dials.read(tmp_path, "mpi3d_mini")
    assert str(path) in str(error.value) and "\n" not in str(error.value)
