//! Everything that can be said about the files before the gateway runs.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::diagnostic::{Diagnostic, FileReport, Severity};
use super::gateway::GatewayConfig;
use super::gateway_file::{self, Loaded};
use super::text::{self, nearest};
use super::{advice, site};
use crate::registry::Registry;

/// Certificates, keys and passwords take kilobytes.
const MAX_BYTES: u64 = 4 << 20;

/// What was found.
#[derive(Debug)]
pub struct Checked {
    /// This gateway; none where it was not asked for, or where its file is faulty.
    pub gateway: Option<GatewayConfig>,
    /// The site; none where it was not asked for, or where it is faulty.
    pub registry: Option<Registry>,
    /// Faults and warnings, in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// How many diagnostics are as grave as that.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == severity).count()
    }
}

/// Checks a gateway.toml with the files that it names, and a site directory: the one given, or the one that gateway.toml
/// names.
pub fn check(gateway: Option<&Path>, site_dir: Option<&Path>) -> Checked {
    check_with(gateway, site_dir, |_| true)
}

/// As [`check()`], for a gateway that is about to run: where its data directory holds a registry, the site directory is not
/// read any more, and cannot be in the way.
pub fn check_to_run(gateway: &Path) -> Checked {
    check_with(Some(gateway), None, |data_dir| !crate::store::is_there(data_dir))
}

fn check_with(gateway: Option<&Path>, site_dir: Option<&Path>, reads_site: impl Fn(&Path) -> bool) -> Checked {
    let report = gateway.map(|file| FileReport::new(file.to_owned()));
    let mut loaded = report.as_ref().map(gateway_file::load).unwrap_or_default();
    if loaded.config.as_ref().is_some_and(|config| !reads_site(&config.data_dir)) {
        loaded.site = None;
    }
    let named = loaded.site.as_ref().map(|(dir, line)| (dir.as_path(), *line));
    let mut site = None;
    match (site_dir, named, &report) {
        (Some(dir), _, _) => site = Some((dir, site::load(dir))),
        (None, Some((dir, line)), Some(report)) => match site::missing(dir) {
            // The slip is more likely in the name than in the file system.
            Some(reason) => {
                report.error(format!("site: {}: {reason}", dir.display())).at(line).help("name the site directory");
            }
            None => site = Some((dir, site::load(dir))),
        },
        _ => {}
    }
    if let Some(report) = &report {
        let receivers = site.as_ref().and_then(|(_, site)| site.receivers.as_deref());
        if let Some(receivers) = receivers {
            let mut known: Vec<&str> = receivers.iter().map(crate::model::ReceiverId::as_str).collect();
            known.sort_unstable();
            for (receiver, line) in loaded.receivers.iter().filter(|(id, _)| !receivers.contains(id)) {
                report
                    .error(format!("receiver \"{receiver}\" is not in the site's site.toml"))
                    .at(*line)
                    .of("[[adapter]]")
                    .help(nearest(receiver.as_str(), &known));
            }
        }
        files(report, &loaded);
        if loaded.config.as_ref().is_some_and(|config| config.adapters.is_empty()) {
            report
                .warning("there is no [[adapter]], so the gateway hears nothing itself")
                .help("write [[adapter]] with receiver = \"…\", unless positions come from elsewhere");
        }
    }
    let gateway = loaded.config;
    let mut diagnostics = report.map(FileReport::finish).unwrap_or_default();
    let mut registry = None;
    if let Some((dir, loaded)) = site {
        let mut of_site = loaded.diagnostics;
        of_site.extend(loaded.registry.iter().flat_map(|registry| advice::advise(registry, dir)));
        // Stable: within a file the lines are in order already.
        of_site.sort_by_key(|diagnostic| site::FILES.iter().position(|name| diagnostic.file.ends_with(name)));
        diagnostics.extend(of_site);
        registry = loaded.registry;
    }
    Checked { gateway, registry, diagnostics }
}

/// Looks into the files that gateway.toml names.
fn files(report: &FileReport, loaded: &Loaded) {
    // By section: the first is the broker's, the other that of `[http]`.
    let mut certificates: [Option<Vec<CertificateDer<'static>>>; 2] = [None, None];
    let mut private_keys: [Option<(PrivateKeyDer<'static>, usize)>; 2] = [None, None];
    for (key, path, line) in &loaded.files {
        let fault = |message: String, help: &str| {
            report.error(format!("{key}: {}: {message}", path.display())).at(*line).help(help);
        };
        if *key == "data_dir" {
            if path.exists() && !path.is_dir() {
                fault("this is not a directory".to_owned(), "name a directory, or one that is to be made");
            }
            continue;
        }
        let (section, key) = key.strip_prefix("http.").map_or((0, *key), |key| (1, key));
        let bytes = match text::read_bytes(path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => {
                fault(error.to_string(), "paths start from the directory of gateway.toml");
                continue;
            }
        };
        if matches!(key, "password_file" | "key_file") && is_world_readable(path) {
            report
                .warning(format!("{key}: {}: every user of this machine can read the secret", path.display()))
                .at(*line)
                .help(format!("chmod 600 {}", path.display()));
        }
        match key {
            "password_file" => {
                if bytes.iter().all(u8::is_ascii_whitespace) {
                    fault("the file is empty".to_owned(), "write the password into it");
                }
            }
            "key_file" => match PrivateKeyDer::from_pem_slice(&bytes) {
                Ok(found) => private_keys[section] = Some((found, *line)),
                Err(error) => fault(
                    format!("no private key in PEM: {error}"),
                    "it must hold BEGIN PRIVATE KEY, not encrypted by a pass phrase",
                ),
            },
            _ => match read_certificates(&bytes) {
                Ok(found) if key == "certificate_file" => certificates[section] = Some(found),
                Ok(_) => {}
                Err(error) => fault(error, "it must hold BEGIN CERTIFICATE and so on"),
            },
        }
    }
    for (certificates, private_key) in certificates.into_iter().zip(private_keys) {
        let (Some(certificates), Some((private_key, line))) = (certificates, private_key) else { continue };
        let provider = rustls::crypto::ring::default_provider();
        if let Err(error) = CertifiedKey::from_der(certificates, private_key, &provider) {
            report
                .error(format!("key_file does not go with certificate_file: {error}"))
                .at(line)
                .help("name the key that the certificate was made for");
        }
    }
}

fn read_certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the PEM cannot be read: {error}"))?;
    if certificates.is_empty() {
        return Err("no certificate in PEM".to_owned());
    }
    for (at, certificate) in certificates.iter().enumerate() {
        RootCertStore::empty()
            .add(certificate.clone())
            .map_err(|error| format!("certificate {} cannot be read: {error}", at + 1))?;
    }
    Ok(certificates)
}

#[cfg(unix)]
fn is_world_readable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_world_readable(_: &Path) -> bool {
    false
}
