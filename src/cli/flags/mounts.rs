//! `-v`, `--mount` and `--tmpfs`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, MountVolumeOptions,
};

use super::invalid;
use crate::cli::error::CliError;
use crate::model::parse_size;

/// `-v` values: what the API calls binds (`source:target[:options]`), and anonymous volumes (`target` alone).
/// A source that begins with `.` is a path from `here`.
pub(super) fn volumes(specs: &[String], here: &Path) -> Result<(Vec<String>, Vec<String>), CliError> {
    let (mut binds, mut anonymous) = (Vec::new(), Vec::new());
    for spec in specs {
        match spec.split(':').collect::<Vec<_>>()[..] {
            [target] if target.starts_with('/') => anonymous.push(target.to_owned()),
            [source, target] if target.starts_with('/') => {
                binds.push(format!("{}:{target}", source_path(source, here)));
            }
            [source, target, options] if target.starts_with('/') => {
                binds.push(format!("{}:{target}:{options}", source_path(source, here)));
            }
            _ => return Err(invalid(format!("invalid volume specification: '{spec}'"))),
        }
    }
    Ok((binds, anonymous))
}

/// Names of volumes and absolute paths stay; relative paths (`./x`) become absolute.
fn source_path(source: &str, here: &Path) -> String {
    if source.starts_with('.') {
        let joined: PathBuf = here.join(source).components().collect();
        joined.display().to_string()
    } else {
        source.to_owned()
    }
}

/// `--tmpfs` values: target → options.
pub(super) fn tmpfs(specs: &[String]) -> HashMap<String, String> {
    let pair = |spec: &String| {
        let (target, options) = spec.split_once(':').unwrap_or((spec, ""));
        (target.to_owned(), options.to_owned())
    };
    specs.iter().map(pair).collect()
}

/// One `--mount` value: comma-separated `key=value`.
pub(super) fn mount(spec: &str, here: &Path) -> Result<Mount, CliError> {
    let mut mount = Mount { typ: Some(MountType::VOLUME), ..Mount::default() };
    let mut bind = MountBindOptions::default();
    let mut volume = MountVolumeOptions::default();
    let mut tmpfs = MountTmpfsOptions::default();
    for field in spec.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let wrong = || invalid(format!("invalid argument {spec:?} for --mount: invalid field '{field}'"));
        let text = || value.filter(|value| !value.is_empty()).map(str::to_owned).ok_or_else(wrong);
        match key {
            "type" => {
                mount.typ = Some(match value {
                    Some("bind") => MountType::BIND,
                    Some("volume") => MountType::VOLUME,
                    Some("tmpfs") => MountType::TMPFS,
                    _ => return Err(wrong()),
                });
            }
            "source" | "src" => mount.source = Some(text()?),
            "target" | "dst" | "destination" => mount.target = Some(text()?),
            "readonly" | "ro" => mount.read_only = Some(boolean(value).ok_or_else(wrong)?),
            "bind-propagation" => bind.propagation = Some(propagation(value).ok_or_else(wrong)?),
            "bind-nonrecursive" => bind.non_recursive = Some(boolean(value).ok_or_else(wrong)?),
            "volume-nocopy" => volume.no_copy = Some(boolean(value).ok_or_else(wrong)?),
            "tmpfs-size" => {
                let bytes = parse_size(&text()?).map_err(|_| wrong())?;
                tmpfs.size_bytes = Some(i64::try_from(bytes).map_err(|_| wrong())?);
            }
            "tmpfs-mode" => tmpfs.mode = Some(i64::from_str_radix(&text()?, 8).map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
    }
    if mount.target.is_none() {
        return Err(invalid(format!("invalid argument {spec:?} for --mount: target is required")));
    }
    match mount.typ {
        Some(MountType::BIND) => {
            let source = mount.source.as_deref().unwrap_or_default();
            if source.is_empty() {
                return Err(invalid(format!("invalid argument {spec:?} for --mount: source is required for a bind")));
            }
            mount.source = Some(source_path(source, here));
            mount.bind_options = (bind != MountBindOptions::default()).then_some(bind);
        }
        Some(MountType::TMPFS) => mount.tmpfs_options = (tmpfs != MountTmpfsOptions::default()).then_some(tmpfs),
        _ => mount.volume_options = (volume != MountVolumeOptions::default()).then_some(volume),
    }
    Ok(mount)
}

/// A bare key is true.
fn boolean(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("true" | "1") => Some(true),
        Some("false" | "0") => Some(false),
        Some(_) => None,
    }
}

fn propagation(value: Option<&str>) -> Option<MountBindOptionsPropagationEnum> {
    Some(match value? {
        "private" => MountBindOptionsPropagationEnum::PRIVATE,
        "rprivate" => MountBindOptionsPropagationEnum::RPRIVATE,
        "shared" => MountBindOptionsPropagationEnum::SHARED,
        "rshared" => MountBindOptionsPropagationEnum::RSHARED,
        "slave" => MountBindOptionsPropagationEnum::SLAVE,
        "rslave" => MountBindOptionsPropagationEnum::RSLAVE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_and_binds() {
        let specs: Vec<String> = ["/a:/b", "./x:/c:ro", "name:/d", "/anon"].iter().map(|s| (*s).to_owned()).collect();
        let (binds, anonymous) = volumes(&specs, Path::new("/here")).expect("volumes");
        assert_eq!(binds, ["/a:/b", "/here/x:/c:ro", "name:/d"]);
        assert_eq!(anonymous, ["/anon"]);
        for bad in ["", "a", "a:b", "/a:/b:ro:x"] {
            assert!(volumes(&[bad.to_owned()], Path::new("/")).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mounts() {
        let here = Path::new("/here");
        let m = mount("type=bind,src=./x,dst=/y,readonly,bind-propagation=rslave", here).expect("a mount");
        assert_eq!((m.source.as_deref(), m.target.as_deref(), m.read_only), (Some("/here/x"), Some("/y"), Some(true)));
        let m = mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770", here).expect("a mount");
        assert_eq!(m.tmpfs_options.map(|t| (t.size_bytes, t.mode)), Some((Some(1 << 20), Some(0o1770))));
        for bad in ["", "type=bind,dst=/y", "type=x,dst=/y", "dst=", "src=/x", "dst=/y,readonly=maybe", "dst=/y,foo=1"]
        {
            assert!(mount(bad, here).is_err(), "{bad:?}");
        }
    }
}
