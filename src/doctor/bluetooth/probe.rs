//! What `bluetoothd` and the kernel say of the radios. Asks only; changes nothing.

// Elsewhere there is no bluetoothd to ask.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::PATIENCE;

/// Where the daemon lies, by distribution; only these are asked for their version.
const DAEMONS: [&str; 4] = [
    "/usr/libexec/bluetooth/bluetoothd",
    "/usr/lib/bluetooth/bluetoothd",
    "/usr/sbin/bluetoothd",
    "/usr/local/libexec/bluetooth/bluetoothd",
];

/// How far the question came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum System {
    /// There is no bus.
    NoBus(String),
    /// Nobody offers Bluetooth on it.
    NoService,
    /// The bus does not let this user ask; in its words.
    Denied(String),
    /// `bluetoothd` does not answer as it should.
    NoAnswer(String),
    /// It answers.
    There(Daemon, Vec<Adapter>),
}

/// All that was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What the bus says.
    pub system: System,
    /// The adapters that the kernel has, such as `hci0`.
    pub kernel: Vec<String>,
    /// The daemon that is installed, and its version.
    pub installed: Option<(String, String)>,
    /// Whose rights these are.
    pub user: String,
}

/// `bluetoothd`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Daemon {
    /// The command that it was started with; empty where the system does not say.
    pub command: Vec<String>,
}

impl Daemon {
    /// Whether it was started with its experimental interfaces.
    pub fn is_experimental(&self) -> bool {
        let short = |word: &str| word.starts_with('-') && !word.starts_with("--") && word.contains('E');
        self.command.iter().skip(1).any(|word| short(word) || word.starts_with("--experimental"))
    }
}

/// An adapter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adapter {
    /// The system's name.
    pub name: String,
    /// Its own address.
    pub address: Option<[u8; 6]>,
    /// Whether it is powered.
    pub powered: bool,
    /// What it can be in LE, such as `central`; empty where it does not say.
    pub roles: Vec<String>,
    /// The kinds of advertisement monitors that are offered; none where monitors are not offered at all.
    pub monitors: Option<Vec<String>>,
    /// Whether the controller itself can filter for a monitor.
    pub offloads: bool,
    /// Whether and how it is switched off.
    pub block: Block,
}

/// Whether a radio is switched off by rfkill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Block {
    /// It is not.
    #[default]
    No,
    /// By software.
    Soft,
    /// By a switch of the machine.
    Hard,
}

/// Asks.
pub async fn probe() -> Facts {
    let system = match tokio::time::timeout(PATIENCE, ask()).await {
        Ok(system) => system,
        Err(_) => System::NoAnswer(format!("nothing within {} s", PATIENCE.as_secs())),
    };
    let beside = tokio::task::spawn_blocking(|| (kernel(), installed())).await;
    let (kernel, installed) = beside.unwrap_or_default();
    let user = std::fs::metadata("/proc/self").map_or(0, |own| std::os::unix::fs::MetadataExt::uid(&own));
    Facts { system, kernel, installed, user: crate::doctor::disk::user_name(user) }
}

/// The adapters that the kernel has.
fn kernel() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/class/bluetooth").into_iter().flatten().filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    // Connections stand there as well: `hci0:12`.
    let mut names: Vec<String> = names.filter(|name| name.starts_with("hci") && !name.contains(':')).collect();
    names.sort();
    names
}

fn installed() -> Option<(String, String)> {
    let path = DAEMONS.iter().find(|path| Path::new(path).is_file())?;
    let asked = Command::new(path).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let version = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    // Digits and dots, or it is something else that lies there.
    let is_version = !version.is_empty() && version.chars().all(|c| c.is_ascii_digit() || c == '.');
    is_version.then(|| ((*path).to_owned(), version))
}

#[cfg(target_os = "linux")]
async fn ask() -> System {
    use zbus::message::Flags;
    use zbus::{Connection, Message};

    const SERVICE: &str = "org.bluez";
    const BUS: &str = "org.freedesktop.DBus";

    let bus = match Connection::system().await {
        Ok(bus) => bus,
        Err(error) => return System::NoBus(error.to_string()),
    };
    let asked = bus.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), "GetConnectionUnixProcessID", &SERVICE);
    let process = match asked.await {
        Ok(reply) => reply.body().deserialize::<u32>().ok(),
        Err(error) if is_absent(&error) => return System::NoService,
        // Not every bus says which process it is.
        Err(_) => None,
    };
    let question = Message::method_call("/", "GetManagedObjects")
        .destination(SERVICE)
        .interface("org.freedesktop.DBus.ObjectManager")
        // Who stopped bluetoothd had a reason: it is not started only to be looked at.
        .with_flags(Flags::NO_AUTO_START)
        .build(&());
    let answer = match question {
        Ok(question) => answer(&bus, &question).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(message) => match adapters(&message) {
            Some(adapters) => System::There(Daemon { command: process.map(command).unwrap_or_default() }, adapters),
            None => System::NoAnswer("its objects cannot be read".to_owned()),
        },
        Err(error) if is_absent(&error) => System::NoService,
        Err(error) if name(&error).is_some_and(|name| name.ends_with(".AccessDenied")) => {
            System::Denied(error.to_string())
        }
        Err(error) => System::NoAnswer(error.to_string()),
    }
}

#[cfg(not(target_os = "linux"))]
async fn ask() -> System {
    System::NoBus("this system has no bluetoothd".to_owned())
}

/// The name of an error that came over the bus.
#[cfg(target_os = "linux")]
fn name(error: &zbus::Error) -> Option<String> {
    match error {
        zbus::Error::MethodError(name, ..) => Some(name.to_string()),
        // Those that the bus itself gives have types of their own.
        zbus::Error::FDO(error) => Some(zbus::DBusError::name(error.as_ref()).to_string()),
        _ => None,
    }
}

/// Whether nobody has that name.
#[cfg(target_os = "linux")]
fn is_absent(error: &zbus::Error) -> bool {
    name(error).is_some_and(|name| name.ends_with(".NameHasNoOwner") || name.ends_with(".ServiceUnknown"))
}

/// Sends a call, and waits for what comes back.
#[cfg(target_os = "linux")]
async fn answer(bus: &zbus::Connection, question: &zbus::Message) -> zbus::Result<zbus::Message> {
    use futures::StreamExt as _;
    let mut incoming = zbus::MessageStream::from(bus);
    let serial = question.primary_header().serial_num();
    bus.send(question).await?;
    while let Some(message) = incoming.next().await {
        let message = message?;
        if message.header().reply_serial() == Some(serial) {
            return match message.message_type() {
                zbus::message::Type::Error => Err(message.into()),
                _ => Ok(message),
            };
        }
    }
    Err(zbus::Error::Failure("the connection was closed".to_owned()))
}

/// What a process was started with.
fn command(process: u32) -> Vec<String> {
    let read = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words = read.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The adapters among the objects of `bluetoothd`, in the order of their names.
#[cfg(target_os = "linux")]
fn adapters(message: &zbus::Message) -> Option<Vec<Adapter>> {
    use zbus::{ObjectPath, Variant};
    type Properties<'a> = HashMap<&'a str, Variant<'a>>;
    fn texts(properties: &Properties<'_>, name: &str) -> Vec<String> {
        let Some(Variant::Array(array)) = properties.get(name) else { return Vec::new() };
        array
            .iter()
            .filter_map(|value| if let Variant::Str(text) = value { Some(text.to_string()) } else { None })
            .collect()
    }
    let body = message.body();
    let objects: HashMap<ObjectPath<'_>, HashMap<&str, Properties<'_>>> = body.deserialize().ok()?;
    let adapter = |(path, interfaces): (&ObjectPath<'_>, &HashMap<&str, Properties<'_>>)| {
        let properties = interfaces.get("org.bluez.Adapter1")?;
        let monitors = interfaces.get("org.bluez.AdvertisementMonitorManager1");
        let name = path.as_str().rsplit('/').next()?.to_owned();
        let address = match properties.get("Address") {
            Some(Variant::Str(text)) => address(text),
            _ => None,
        };
        Some(Adapter {
            address,
            powered: matches!(properties.get("Powered"), Some(Variant::Bool(true))),
            roles: texts(properties, "Roles"),
            monitors: monitors.map(|monitors| texts(monitors, "SupportedMonitorTypes")),
            offloads: monitors.is_some_and(|monitors| {
                texts(monitors, "SupportedFeatures").iter().any(|feature| feature == "controller-patterns")
            }),
            block: block(&name),
            name,
        })
    };
    let mut adapters: Vec<Adapter> = objects.iter().filter_map(adapter).collect();
    // `hci10` comes after `hci9`.
    adapters.sort_by_key(|adapter| (adapter.name.len(), adapter.name.clone()));
    Some(adapters)
}

fn address(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> = text.split(':').map(|part| u8::from_str_radix(part, 16)).collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok()
}

fn block(adapter: &str) -> Block {
    let entries = std::fs::read_dir(format!("/sys/class/bluetooth/{adapter}")).into_iter().flatten();
    let switches =
        entries.filter_map(Result::ok).filter(|entry| entry.file_name().to_string_lossy().starts_with("rfkill"));
    let is_set =
        |path: &Path, name: &str| std::fs::read_to_string(path.join(name)).is_ok_and(|text| text.trim() == "1");
    let mut block = Block::No;
    for switch in switches {
        if is_set(&switch.path(), "hard") {
            return Block::Hard;
        }
        if is_set(&switch.path(), "soft") {
            block = Block::Soft;
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_experimental_flag_is_known_in_each_of_its_forms() {
        let started = |words: &[&str]| Daemon { command: words.iter().map(|word| (*word).to_owned()).collect() };
        for words in [&["bluetoothd", "-E"][..], &["bluetoothd", "-nE"], &["bluetoothd", "--experimental"]] {
            assert!(started(words).is_experimental(), "{words:?}");
        }
        for words in [&[][..], &["bluetoothd"], &["/opt/E/bluetoothd", "--noplugin=E"], &["bluetoothd", "-d"]] {
            assert!(!started(words).is_experimental(), "{words:?}");
        }
    }

    #[test]
    fn addresses_are_read() {
        assert_eq!(address("00:11:22:33:44:FF"), Some([0, 0x11, 0x22, 0x33, 0x44, 0xff]));
        assert_eq!((address("00:11"), address("no address at all")), (None, None));
    }
}
