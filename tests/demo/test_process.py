"""The consumer's process: started, asked, stopped, and told of when it ends by itself."""

from pathlib import Path

import pytest

from consumer.demo import child
from consumer.demo.cluster import open_cluster
from consumer.demo.configuration import consumer_configuration
from consumer.demo.options import DemoOptions
from consumer.demo.process import Backlog, ConsumerEnded, ConsumerProcess


async def test_a_child_is_ready_tells_what_waits_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child comes up whatever the environment says, answers, and ends with 0 when asked to."""
    monkeypatch.setenv("GIFTCHECK_CHECK__TIMEOUT", "nonsense")
    options = DemoOptions()
    with open_cluster(options) as cluster:
        configuration = consumer_configuration(options, cluster, "http://127.0.0.1:1", "secret")
        async with ConsumerProcess(configuration, tmp_path, embedded_broker=True) as consumer:
            await consumer.ready()
            backlog = await consumer.backlog()
            assert backlog is not None
            assert backlog[:2] == Backlog(0, 0)[:2]
            assert any("rooms 0" in line for line in backlog.told)
            assert await consumer.stop() == 0
            await consumer.watch()
            assert await consumer.backlog() is None


@pytest.mark.parametrize("embedded_broker", [False, True])
async def test_a_child_that_ends_by_itself_is_told_of(
    tmp_path: Path,
    embedded_broker: bool,  # noqa: FBT001
) -> None:
    """The exit code and the end of the log say why; the folder holds the configuration it had."""
    configuration = {"nonsense": 1}
    async with ConsumerProcess(
        configuration, tmp_path, embedded_broker=embedded_broker
    ) as consumer:
        with pytest.raises(ConsumerEnded, match=r"exit code 2(?s:.*)nonsense") as ended:
            await consumer.watch()
        assert await consumer.stop() == 2
    assert ended.value.exit_code == 1
    assert "nonsense: 1" in (tmp_path / "giftcheck.yaml").read_text()


def test_the_child_for_the_embedded_broker_refuses_a_wrong_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends as `giftcheck run` does: exit code 2, and a line that names the mistake."""
    config = tmp_path / "giftcheck.yaml"
    config.write_text("nonsense: 1\n")
    assert child.main(["--config", str(config)]) == 2
    assert "nonsense" in capsys.readouterr().err
