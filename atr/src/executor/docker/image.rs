//! What an image is, before anything is made of it.

use std::io;
use std::sync::Arc;

use bollard::models::ImageInspect;

use super::daemon::Daemon;
use super::engine::{ANSWER, Engine, Refusal};
use super::streams::as_io;
use crate::error::ToolError;
use crate::isolation::Level;

/// The id of the image that `reference` names.
pub(super) async fn inspect(engine: &Arc<Engine>, reference: &str) -> Result<String, ToolError> {
    let (ours, name) = (Arc::clone(engine), reference.to_owned());
    let asked = engine.spawn(async move { ours.within(ANSWER, ours.client.inspect_image(&name)).await });
    let answer = asked.await.map_err(|error| ToolError::unavailable(Level::Container, error))?;
    match answer {
        Ok(image) => check(image, reference, &engine.daemon),
        Err(Refusal::Said { status: 404, .. }) => Err(ToolError::Spawn {
            source: io::Error::new(
                io::ErrorKind::NotFound,
                "the daemon has no such image, and none is pulled",
            ),
        }),
        Err(refusal) => Err(ToolError::unavailable(Level::Container, refusal)),
    }
}

fn check(image: ImageInspect, reference: &str, daemon: &Daemon) -> Result<String, ToolError> {
    let id = image.id.unwrap_or_default();
    if !reference.contains('@') && id != reference {
        return Err(ToolError::unavailable(Level::Container, "the daemon answers for another image"));
    }
    let (system, architecture) = (image.os.unwrap_or_default(), image.architecture.unwrap_or_default());
    if (&system, &architecture) != (&daemon.system, &daemon.architecture) {
        let reason = format!("the image is for `{system}` on `{architecture}`");
        return Err(ToolError::Spawn { source: as_io(reason) });
    }
    // A volume can be written to without a bound, whatever is said of the root.
    if image.config.is_some_and(|config| config.volumes.is_some_and(|volumes| !volumes.is_empty())) {
        return Err(ToolError::unavailable(Level::Container, "the image declares a volume"));
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
            (image(), ID, None),
            (image(), by_digest.as_str(), None),
            (image(), other.as_str(), Some("AK0534")),
            (ImageInspect { architecture: Some("arm64".to_owned()), ..image() }, ID, Some("AK0530")),
            (ImageInspect { os: Some("windows".to_owned()), ..image() }, ID, Some("AK0530")),
            (ImageInspect { architecture: None, ..image() }, ID, Some("AK0530")),
            (ImageInspect { config: volumes, ..image() }, ID, Some("AK0534")),
        ];
        for (image, reference, refused) in cases {
            let checked = check(image, reference, &daemon);
            assert_eq!(checked.as_ref().err().map(ToolError::code), refused, "{checked:?}");
            assert_eq!(checked.ok().as_deref(), refused.is_none().then_some(ID));
        }
    }
}
