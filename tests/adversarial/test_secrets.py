"""The password of a database shows nowhere: not in files, messages, errors or logs."""

import traceback
from pathlib import Path

import optuna
import pytest

from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError
from monai_spine.experiments.tuning.storage import TrialStorage, has_password, storage_url

SECRET = "s3cr3t/@:!"
QUOTED = "s3cr3t%2F%40%3A%21"
URLS = [
    f"postgresql+psycopg://me:{QUOTED}@localhost:1/none?connect_timeout=1",
    f"postgresql+psycopg://me@localhost:1/none?password={QUOTED}&connect_timeout=1",
    f"postgresql+psycopg://me@localhost:1/none?sslpassword={QUOTED}&connect_timeout=1",
    f"mysql+nonsense://me:{QUOTED}@localhost/none",
    f"me:{SECRET}@localhost",
    f"postgresql://me:{SECRET}@localhost:port/x",
]


@pytest.mark.parametrize("url", URLS)
def test_no_message_about_a_database_holds_its_password(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    with pytest.raises(SpineError) as raised:
        TrialStorage(url, "s", higher_is_better=False, pruner=optuna.pruners.NopPruner(), fingerprint="a")
    assert isinstance(raised.value, InvalidOptionError)
    printed = "".join(traceback.format_exception(raised.value))
    # The traceback shows the line of the test, not the value.
    for text in (str(raised.value), printed, caplog.text, *capfd.readouterr()):
        assert "s3cr3t" not in text


@pytest.mark.filterwarnings("ignore:Query string argument")
@pytest.mark.parametrize(("query", "shown"), [(f"?password={QUOTED}", "?password=***"), ("", "")])
def test_the_shown_url_is_the_one_that_was_given_without_its_password(tmp_path: Path, query: str, shown: str) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    pruner = optuna.pruners.NopPruner()
    storage = TrialStorage(f"{url}{query}", "s", higher_is_better=False, pruner=pruner, fingerprint="a")
    assert storage.shown == f"{url}{shown}"


def test_a_url_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{URLS[0]}\n")
    assert storage_url(f"@{tmp_path / 'url'}") == URLS[0]
    assert storage_url(URLS[0]) == URLS[0]
    assert has_password(URLS[0])
    assert not has_password("sqlite:///x.db")
    with pytest.raises(MissingInputError):
        storage_url(f"@{tmp_path / 'gone'}")
