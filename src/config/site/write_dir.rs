//! Writes a site directory: whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{CALIBRATION, Plans, SITE, TRIGGERS, site_texts};
use crate::registry::Registry;

/// Why a site directory was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteSiteError {
    /// It holds something else.
    #[error("{0} is not empty and has no site.toml in it, so it is no site directory; name another one, or empty it")]
    NoSite(PathBuf),
    /// It is a file.
    #[error("{0} is not a directory; name another one")]
    NoDirectory(PathBuf),
    /// A level has a plan, but there is no picture of it.
    #[error("the picture \"{0}\" of a level is missing; upload it again, or remove the plan")]
    NoPicture(String),
    /// The system says no.
    #[error("{file} cannot be written: {error}; check the directory's owner, permissions and free space", file = .0.display(), error = .1)]
    Io(PathBuf, io::Error),
}

/// Writes the registry into that directory, with the pictures of its levels. A directory that is there must be empty or a site
/// directory, of which the files that are no part of a site are kept.
///
/// All files are written beside the old ones before the first takes its place.
///
/// # Errors
/// [`WriteSiteError`]; then the old files are still there.
pub fn write_site(dir: &Path, registry: &Registry, plans: &Plans) -> Result<(), WriteSiteError> {
    let failed = |file: &Path| {
        let file = file.to_owned();
        move |error| WriteSiteError::Io(file, error)
    };
    let mut files: Vec<(String, Vec<u8>)> =
        site_texts(registry).into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    for level in &registry.site().levels {
        let Some(plan) = &level.plan else { continue };
        let image = plans.get(&level.ordinal).ok_or_else(|| WriteSiteError::NoPicture(plan.file.clone()))?;
        files.push((plan.file.clone(), image.bytes.clone()));
    }
    match fs::metadata(dir) {
        Ok(metadata) if !metadata.is_dir() => return Err(WriteSiteError::NoDirectory(dir.to_owned())),
        Ok(_) => {
            let is_empty = fs::read_dir(dir).map_err(failed(dir))?.next().is_none();
            if !is_empty && !dir.join(SITE).is_file() {
                return Err(WriteSiteError::NoSite(dir.to_owned()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(dir).map_err(failed(dir))?,
        Err(error) => return Err(failed(dir)(error)),
    }
    let beside = |name: &str| dir.join(format!(".{name}.{}.new", std::process::id()));
    let written = files.iter().try_for_each(|(name, bytes)| {
        let file = beside(name);
        let write = || {
            let mut new = File::create(&file)?;
            new.write_all(bytes)?;
            new.sync_all()
        };
        write().map_err(failed(&dir.join(name)))
    });
    let written = written.and_then(|()| {
        files.iter().try_for_each(|(name, _)| {
            let file = dir.join(name);
            fs::rename(beside(name), &file).map_err(failed(&file))
        })
    });
    if let Err(error) = written {
        for (name, _) in &files {
            let _ = fs::remove_file(beside(name));
        }
        return Err(error);
    }
    // What was there before would be read as that of this registry.
    for name in [CALIBRATION, TRIGGERS].into_iter().filter(|name| !files.iter().any(|(written, _)| written == name)) {
        let file = dir.join(name);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&file)(error)),
            _ => {}
        }
    }
    // The names are in the directory, which has a cache of its own.
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed(dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::store::STORE;
    use crate::config::{load_bundled_site_with_plans, load_site_with_plans};

    #[test]
    fn a_site_is_written_whole_and_read_back_with_its_pictures() {
        let (registry, plans, _) = load_bundled_site_with_plans(&STORE).unwrap();
        assert_eq!(plans.len(), 2);
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("new/site");
        write_site(&site, &registry, &plans).unwrap();
        let (back, pictures, warnings) = load_site_with_plans(&site).unwrap();
        assert_eq!(
            (back.zones(), back.beacons(), back.devices()),
            (registry.zones(), registry.beacons(), registry.devices())
        );
        assert_eq!((back.site(), back.receivers()), (registry.site(), registry.receivers()));
        assert_eq!(pictures, plans);
        assert_eq!(warnings, []);
    }

    #[test]
    fn a_site_directory_keeps_what_is_no_part_of_a_site() {
        let (registry, plans, _) = load_bundled_site_with_plans(&STORE).unwrap();
        let registry = registry.with_rules(std::sync::Arc::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("site.toml", "old"), ("README.md", "mine"), (CALIBRATION, "{}"), (TRIGGERS, "old")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        write_site(dir.path(), &registry, &plans).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("README.md")).unwrap(), "mine");
        assert!(load_site_with_plans(dir.path()).is_ok());
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let wanted =
            ["README.md", "beacons.csv", "devices.csv", "floor-0.svg", "floor-1.svg", "site.toml", "zones.geojson"];
        assert_eq!(names, wanted);
    }

    #[test]
    fn what_is_no_site_directory_is_left_alone() {
        let (registry, plans, _) = load_bundled_site_with_plans(&STORE).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "all of it").unwrap();
        assert!(matches!(write_site(dir.path(), &registry, &plans), Err(WriteSiteError::NoSite(_))));
        assert!(matches!(
            write_site(&dir.path().join("thesis.txt"), &registry, &plans),
            Err(WriteSiteError::NoDirectory(_))
        ));
        let missing = dir.path().join("other");
        assert!(matches!(write_site(&missing, &registry, &Plans::new()), Err(WriteSiteError::NoPicture(_))));
        assert!(!missing.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_old_files() {
        let (registry, plans, _) = load_bundled_site_with_plans(&STORE).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("site.toml"), "old").unwrap();
        // A directory stands where the last of the new files is to be written.
        fs::create_dir(dir.path().join(format!(".floor-1.svg.{}.new", std::process::id()))).unwrap();
        assert!(matches!(write_site(dir.path(), &registry, &plans), Err(WriteSiteError::Io(..))));
        assert_eq!(fs::read_to_string(dir.path().join("site.toml")).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
