import pytest
import torch

from submission.errors import UserError
from submission.training import checkpoint


def test_a_state_is_read_back(tmp_path):
    state = {"step": 3, "weights": torch.arange(4), "rows": [{"loss": 1.5, "phase": "training"}]}
    checkpoint.save(tmp_path / "c.pt", state)
    restored = checkpoint.load(tmp_path / "c.pt", ())
    assert torch.equal(restored.pop("weights"), state.pop("weights"))
    assert restored == state


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_damaged_file_is_one_line(tmp_path, share):
    checkpoint.save(tmp_path / "c.pt", {"weights": torch.zeros(1000)})
    whole = (tmp_path / "c.pt").read_bytes()
    (tmp_path / "c.pt").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=r"c\.pt can't be read"):
        checkpoint.load(tmp_path / "c.pt", ())


@pytest.mark.parametrize("state", [[1, 2], {"encoder.weight": torch.zeros(3)}, None])
def test_another_programs_file_is_one_line(tmp_path, state):
    torch.save(state, tmp_path / "c.pt")
    with pytest.raises(UserError, match=r"c\.pt is no file of this version's training"):
        checkpoint.load(tmp_path / "c.pt", ("identity",))


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code of a checkpoint ran')",))


def test_a_checkpoint_cannot_run_code(tmp_path):
    torch.save({"state": Hostile()}, tmp_path / "c.pt")
    with pytest.raises(UserError, match="can't be read"):
        checkpoint.load(tmp_path / "c.pt", ())


def test_identities_differ_exactly_when_a_part_does():
    first = checkpoint.identity(a=1, b={"x": 1, "y": 2})
    assert first == checkpoint.identity(b={"y": 2, "x": 1}, a=1)
    assert first != checkpoint.identity(a=1, b={"x": 1, "y": 3})
