//! What is asked of the network: the requests of the kernel's command line, with named VLANs put in.

use super::address::{AddressRequest, CardName, Device, Method};
use super::parameters::Parameters;

/// Whatever address a card gets.
pub(super) fn automatic(device: Option<Device>) -> AddressRequest {
    AddressRequest { device, method: Method::Automatic, hostname: None, name_servers: Vec::new() }
}

/// What is asked for, with named VLANs put in: DHCP on every card where nobody asks for anything.
pub(super) fn requests(parameters: &Parameters) -> Vec<AddressRequest> {
    let mut requests = parameters.addresses.clone();
    if requests.is_empty() {
        requests.push(automatic(None));
    }
    let named = |device: &Device| {
        let CardName::Kernel(card) = &device.card else { return None };
        let text = device.vlan.map_or(card.clone(), |vlan| format!("{card}.{vlan}"));
        parameters.vlans.iter().find(|(name, _)| *name == text).map(|(_, vlan)| vlan.clone())
    };
    for request in &mut requests {
        request.device = match &request.device {
            Some(device) => Some(named(device).unwrap_or_else(|| device.clone())),
            None => parameters.vlans.first().map(|(_, device)| device.clone()),
        };
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(text: &str) -> Vec<Option<String>> {
        let parameters = Parameters::read(text);
        assert_eq!(parameters.errors, Vec::<String>::new());
        requests(&parameters)
            .into_iter()
            .map(|request| request.device.map(|device| device.to_string()))
            .collect()
    }

    #[test]
    fn vlans_are_found_by_their_name_or_number() {
        assert_eq!(devices(""), [None]);
        assert_eq!(devices("vlan=vlan7:eth1"), [Some("eth1.7".to_owned())]);
        assert_eq!(devices("vlan=vlan7:eth1 ip=vlan7:dhcp"), [Some("eth1.7".to_owned())]);
        assert_eq!(devices("vlan=eth1.0007:eth1 ip=dhcp"), [Some("eth1.7".to_owned())]);
        assert_eq!(devices("ip=10.0.0.5/24:::::eth0.9"), [Some("eth0.9".to_owned())]);
        assert_eq!(devices("ip=eth0:dhcp ip=eth1:auto6"), [Some("eth0".to_owned()), Some("eth1".to_owned())]);
    }
}
