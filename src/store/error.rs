//! Why a store cannot be opened, in words for whoever installs the gateway.

use std::path::PathBuf;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made, entered or written.
    #[error("cannot use the data directory {path}: {source}; it must be a directory that the gateway's user may write")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another gateway holds it.
    #[error("a gateway is running on {path}; stop that one, or give this one a data_dir of its own")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It is another site's.
    #[error(
        "{path} holds the data of site \"{found}\", not of \"{wanted}\"; set data_dir to another directory, or move this one away"
    )]
    OtherSite {
        /// The database.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// A later version of the gateway wrote it.
    #[error(
        "{path} is in format {found}, which a later version of beaconfence wrote; this version knows formats up to {known}. \
         Install that version again, or move the directory away to begin anew"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The latest format that is known.
        known: u32,
    },
    /// It could not be brought to the present format.
    #[error(
        "{path} could not be brought from format {from} to {to}: {what}; it is unchanged. Make sure that the disk has room \
         for a copy of it, or install the version that wrote it"
    )]
    Migration {
        /// The database.
        path: PathBuf,
        /// Its format.
        from: u32,
        /// The format it should have.
        to: u32,
        /// What went wrong.
        what: String,
    },
    /// The disk is full.
    #[error("cannot open {path}: the disk is full ({source}); make room on it")]
    DiskFull {
        /// The database.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The disk, or the permissions.
    #[error("cannot open {path}: {source}; check the disk, and that the gateway's user may read and write the file")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A damaged database could not be set aside.
    #[error("{path} is damaged ({what}), and cannot be set aside: {source}; move it away")]
    SetAside {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A new database could not be made, or an old one not be used, for a reason of the database itself.
    #[error("cannot use {path}: {what}; move it away to begin anew")]
    Unusable {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// There is nothing to look at.
    #[error("there is no database in {path}; no gateway has run with this data_dir")]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// It is damaged, and only looked at.
    #[error("{path} is damaged ({what}); the gateway sets it aside when it starts")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}
