//! What an image is, before anything is made of it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bollard::models::ImageInspect;

use super::daemon::Daemon;
use super::engine::{ANSWER, Engine, Refusal};
use crate::error::ToolError;
use crate::isolation::Level;

/// The id of the image that `reference` names.
pub(super) async fn inspect(engine: &Arc<Engine>, reference: &str) -> Result<String, ToolError> {
    let (ours, name) = (Arc::clone(engine), reference.to_owned());
    let asked = engine.spawn(async move { ask(&ours, &name).await });
    let answer = asked.await.map_err(|error| ToolError::unavailable(Level::Container, error))?;
    match answer {
        Ok(image) => {
            fit(image, reference, &engine.daemon).map_err(|reason| ToolError::ProgramInvalid { reason })
        }
        Err(Refusal::Said { status: 404, .. }) => Err(ToolError::Spawn {
            source: io::Error::new(
                io::ErrorKind::NotFound,
                "the daemon has no such image, and none is pulled",
            ),
        }),
        Err(refusal) => Err(ToolError::unavailable(Level::Container, refusal)),
    }
}

/// Why the image that `reference` names will never be run here, as far as can be told: it may not be there yet. Blocks.
pub(super) fn unfit(engine: &Arc<Engine>, reference: &str) -> Result<(), String> {
    let (ours, name) = (Arc::clone(engine), reference.to_owned());
    let (tell, told) = sync_channel(1);
    engine.spawn(async move {
        // It has room for the one answer.
        let _ = tell.send(ask(&ours, &name).await);
    });
    match told.recv() {
        Ok(Ok(image)) => fit(image, reference, &engine.daemon).map(drop),
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

async fn ask(engine: &Engine, name: &str) -> Result<ImageInspect, Refusal> {
    engine.within(ANSWER, engine.client.inspect_image(name)).await
}

fn fit(image: ImageInspect, reference: &str, daemon: &Daemon) -> Result<String, String> {
    let id = image.id.unwrap_or_default();
    if !reference.contains('@') && id != reference {
        return Err("the daemon answers for another image".to_owned());
    }
    let (system, architecture) = (image.os.unwrap_or_default(), image.architecture.unwrap_or_default());
    if (&system, &architecture) != (&daemon.system, &daemon.architecture) {
        return Err(format!("the image is for `{system}` on `{architecture}`"));
    }
    // A volume can be written to without a bound, whatever is said of the root.
    if image.config.is_some_and(|config| config.volumes.is_some_and(|volumes| !volumes.is_empty())) {
        return Err("the image declares a volume".to_owned());
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use bollard::models::ImageConfig;

    use super::*;

    const ID: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

    fn image() -> ImageInspect {
        ImageInspect {
            id: Some(ID.to_owned()),
            os: Some("linux".to_owned()),
            architecture: Some("amd64".to_owned()),
            config: Some(ImageConfig::default()),
            ..ImageInspect::default()
        }
    }

    #[test]
    fn an_image_is_what_was_asked_for_fits_the_daemon_and_has_no_volume() {
        let daemon =
            Daemon { system: "linux".to_owned(), architecture: "amd64".to_owned(), ..Daemon::default() };
        let volumes = Some(ImageConfig { volumes: Some(vec!["/data".to_owned()]), ..ImageConfig::default() });
        let other = ID.replace("01", "02");
        let by_digest = format!("name@{other}");
        let cases = [
            (image(), ID, true),
            (image(), by_digest.as_str(), true),
            (image(), other.as_str(), false),
            (ImageInspect { architecture: Some("arm64".to_owned()), ..image() }, ID, false),
            (ImageInspect { os: Some("windows".to_owned()), ..image() }, ID, false),
            (ImageInspect { architecture: None, ..image() }, ID, false),
            (ImageInspect { config: volumes, ..image() }, ID, false),
        ];
        for (image, reference, fits) in cases {
            assert_eq!(fit(image, reference, &daemon).ok().as_deref(), fits.then_some(ID), "{reference}");
        }
    }
}
