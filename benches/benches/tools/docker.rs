use agent_os_benches::statistics::Stopwatch;

use crate::Scale;

pub(crate) fn run(_watch: &Stopwatch, _scale: Scale) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
