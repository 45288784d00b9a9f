//! Containers: one call through the executor, beside a bare container with the daemon's defaults; and a kill.
//!
//! The daemon is the one behind `AGENT_OS_DOCKER`; the image is made here.

use std::process::Command;
use std::sync::Arc;

use agent_os_benches::statistics::{Figure, Stopwatch};
use agent_os_benches::table::Table;
use agent_tool_registry::executor::{Docker, Executions, Held, Launch, Order};
use agent_tool_registry::{Artefact, Executor, Limits, Permissions, TokioTimer};
use anyhow::{Context, ensure};
use bollard::API_DEFAULT_VERSION;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateImageOptionsBuilder, WaitContainerOptionsBuilder};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::{Scale, print};

const NAME: &str = "agent-os-bench:busybox";

pub(crate) fn run(watch: &Stopwatch, scale: Scale) -> anyhow::Result<()> {
    let socket = std::env::var("AGENT_OS_DOCKER")
        .context("set AGENT_OS_DOCKER to the socket of a Docker daemon, one that is there for this")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let bare = bollard::Docker::connect_with_unix(&socket, 60, API_DEFAULT_VERSION)?;
        let bare = bare.negotiate_version().await?;
        let image = image(&bare).await?;
        let docker = Docker::connect(&socket).await?;
        let (mut ours, mut theirs, mut kills) = (Vec::new(), Vec::new(), Vec::new());
        // In turns, since a busy machine is busy for all of them.
        for _ in 0..=scale.of(40) {
            let start = watch.read();
            let finished = docker.call(launch(&image, &["/busybox", "echo", "1"])?, Bytes::new()).await;
            ours.push(watch.lap(start));
            finished.result?;
            let start = watch.read();
            one_bare(&bare, &image).await?;
            theirs.push(watch.lap(start));
            let session = docker.start(launch(&image, &["/busybox", "sleep", "1000"])?).await?;
            let start = watch.read();
            session.control.order(Order::Kill);
            ensure!(session.control.held().await == Held::Dead, "it is not dead");
            kills.push(watch.lap(start));
        }
        docker.idle().await;
        let mut table = Table::new(["containers", "p50", "p99", "runs"]);
        for (what, mut samples) in [
            ("`echo 1`, called through the executor", ours),
            ("the same, bare: create, start, wait, remove", theirs),
            ("kill of a sleeping container until it is gone", kills),
        ] {
            // The first warms up.
            samples.remove(0);
            let runs = samples.len().to_string();
            let figure = Figure::of(samples, Vec::new());
            table.row([what.to_owned(), millis(figure.p50), millis(figure.p99), runs]);
        }
        print(table)
    })
}

fn millis(nanos: u64) -> String {
    format!("{} ms", nanos / 1_000_000)
}

fn launch(image: &str, argv: &[&str]) -> anyhow::Result<Launch> {
    let timer = Arc::new(TokioTimer::new());
    let argv = argv.iter().map(|arg| (*arg).to_owned()).collect();
    Ok(Launch {
        artefact: Artefact::Image { reference: image.to_owned(), argv },
        permissions: Permissions::none(),
        limits: Limits::DEFAULT,
        agent: "bench".parse()?,
        executions: Executions::new(Arc::clone(&timer) as _),
        timer,
    })
}

/// What a reader would write by hand: the daemon's defaults, no streams, no limits.
async fn one_bare(docker: &bollard::Docker, image: &str) -> anyhow::Result<()> {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(["/busybox", "echo", "1"].map(str::to_owned).to_vec()),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None, body).await?.id;
    docker.start_container(&id, None).await?;
    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let exited = Box::pin(docker.wait_container(&id, Some(options))).next().await;
    ensure!(exited.context("no answer")??.status_code == 0, "it failed");
    Ok(docker.remove_container(&id, None).await?)
}

/// An image with a static shell in it, by id.
async fn image(docker: &bollard::Docker) -> anyhow::Result<String> {
    if docker.inspect_image(NAME).await.is_err() {
        let tar = Command::new("tar").args(["-C", "/usr/bin", "-cf", "-", "busybox"]).output()?;
        ensure!(tar.status.success(), "/usr/bin/busybox of busybox-static is needed");
        let (repo, tag) = NAME.split_once(':').context("a name and a tag")?;
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(repo).tag(tag).build();
        let body = bollard::body_full(Bytes::from(tar.stdout));
        let mut steps = Box::pin(docker.create_image(Some(options), Some(body), None));
        while let Some(step) = steps.next().await {
            step?;
        }
    }
    docker.inspect_image(NAME).await?.id.context("an image without an id")
}
