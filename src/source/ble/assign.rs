//! Which adapter is which receiver.

use crate::config::{AdapterConfig, AdapterName};

/// An adapter that the system has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The system's name, such as `hci0`.
    pub name: String,
    /// Its own address, where known.
    pub address: Option<[u8; 6]>,
}

/// For each entry of the configuration the index in `present` of its adapter, where there is one.
///
/// An address is the strongest claim, then a name, then "any". An entry for any adapter keeps the one that it `had`
/// while that is free, so that plugging in another does not swap two receivers; else it takes the first by name.
pub fn assign(entries: &[AdapterConfig], present: &[Present], had: &[Option<String>]) -> Vec<Option<usize>> {
    let mut taken = vec![false; present.len()];
    let mut assigned = vec![None; entries.len()];
    let mut take = |entry: usize, wanted: &dyn Fn(&Present) -> bool, taken: &mut Vec<bool>| {
        if assigned[entry].is_none() {
            let mut free: Vec<usize> = (0..present.len()).filter(|&i| !taken[i] && wanted(&present[i])).collect();
            // `hci10` comes after `hci9`.
            free.sort_by_key(|&i| (present[i].name.len(), &present[i].name));
            if let Some(&adapter) = free.first() {
                taken[adapter] = true;
                assigned[entry] = Some(adapter);
            }
        }
    };
    for (i, entry) in entries.iter().enumerate() {
        if let AdapterName::Address(address) = &entry.name {
            take(i, &|adapter| adapter.address.as_ref() == Some(address), &mut taken);
        }
    }
    for (i, entry) in entries.iter().enumerate() {
        if let AdapterName::Name(name) = &entry.name {
            take(i, &|adapter| adapter.name == *name, &mut taken);
        }
    }
    for (i, entry) in entries.iter().enumerate() {
        if let (AdapterName::Any, Some(Some(name))) = (&entry.name, had.get(i)) {
            take(i, &|adapter| adapter.name == *name, &mut taken);
        }
    }
    for (i, entry) in entries.iter().enumerate() {
        if entry.name == AdapterName::Any {
            take(i, &|_| true, &mut taken);
        }
    }
    assigned
}

/// Words for an entry whose adapter is not there.
pub fn missing(entry: &AdapterConfig, present: &[Present]) -> String {
    let wanted = match &entry.name {
        AdapterName::Name(name) => format!("no Bluetooth adapter {name}"),
        AdapterName::Address(address) => format!("no Bluetooth adapter with the address {}", address_text(*address)),
        AdapterName::Any => "no Bluetooth adapter".to_owned(),
    };
    if present.is_empty() {
        return format!("{wanted}: the system has none; is it plugged in? `bluetoothctl list` shows what there is");
    }
    let there: Vec<String> = present
        .iter()
        .map(|adapter| match &adapter.address {
            Some(address) => format!("{} ({})", adapter.name, address_text(*address)),
            None => adapter.name.clone(),
        })
        .collect();
    format!("{wanted}: is it plugged in? The system has {}", there.join(", "))
}

/// An address as it is printed.
pub fn address_text(address: [u8; 6]) -> String {
    let hex: Vec<String> = address.iter().map(|byte| format!("{byte:02X}")).collect();
    hex.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: AdapterName) -> AdapterConfig {
        AdapterConfig { name, receiver: "r1".parse().unwrap() }
    }

    fn adapter(name: &str, last: u8) -> Present {
        Present { name: name.to_owned(), address: Some([0, 0, 0, 0, 0, last]) }
    }

    #[test]
    fn an_address_claims_its_adapter_before_a_name_and_a_name_before_any() {
        let entries = [
            entry(AdapterName::Any),
            entry(AdapterName::Name("hci0".into())),
            entry(AdapterName::Address([0, 0, 0, 0, 0, 1])),
        ];
        let present = [adapter("hci1", 2), adapter("hci0", 1), adapter("hci2", 3)];
        assert_eq!(assign(&entries, &present, &[]), [Some(0), None, Some(1)]);
    }

    #[test]
    fn the_order_in_which_adapters_are_listed_does_not_matter() {
        let entries = [entry(AdapterName::Any)];
        assert_eq!(assign(&entries, &[adapter("hci10", 1), adapter("hci9", 2)], &[]), [Some(1)]);
        assert_eq!(assign(&entries, &[adapter("hci9", 2), adapter("hci10", 1)], &[]), [Some(0)]);
    }

    #[test]
    fn any_keeps_the_adapter_that_it_had() {
        let entries = [entry(AdapterName::Any)];
        let present = [adapter("hci0", 1), adapter("hci1", 2)];
        assert_eq!(assign(&entries, &present, &[Some("hci1".into())]), [Some(1)]);
    }

    #[test]
    fn what_is_missing_is_said_with_what_is_there() {
        let named = entry(AdapterName::Name("hci0".into()));
        let words = missing(&named, &[adapter("hci1", 2)]);
        assert_eq!(words, "no Bluetooth adapter hci0: is it plugged in? The system has hci1 (00:00:00:00:00:02)");
        assert!(missing(&named, &[]).contains("bluetoothctl list"));
    }
}
