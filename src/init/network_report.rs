//! What a person needs to know where there is no network: the cards, their drivers, their cables, what was tried.

use super::network::Tried;
use crate::linux::cards::Card;

/// One line about all cards.
pub(super) fn line(cards: &[Card], tried: &Tried) -> String {
    if cards.is_empty() {
        return "there is no network card with a driver".to_owned();
    }
    let parts: Vec<String> =
        cards.iter().map(|card| format!("{} {}", card.name, state(card, tried))).collect();
    parts.join("; ")
}

/// A table, for a screen of 80 columns.
pub(super) fn table(cards: &[Card], without_driver: &[String], tried: &Tried) -> Vec<String> {
    let mut lines = Vec::new();
    if cards.is_empty() {
        lines.push("there is no wired network card with a driver".to_owned());
    }
    for card in cards {
        let driver = card.driver.as_deref().unwrap_or("-");
        lines.push(format!("{:<7} {:<17} {driver:<11} {}", card.name, card.mac, state(card, tried)));
    }
    for (name, said) in tried.iter().filter(|(name, _)| !cards.iter().any(|card| card.name == **name)) {
        lines.push(format!("{name:<7} {said}"));
    }
    for hardware in without_driver {
        lines.push(format!("no driver in this boot image for the network hardware {hardware}"));
    }
    lines
}

fn state(card: &Card, tried: &Tried) -> String {
    let tried = tried.get(&card.name);
    match (card.carrier, tried) {
        (Some(true), Some(said)) => match card.speed {
            Some(speed) => format!("link up ({speed} Mbit/s), {said}"),
            None => format!("link up, {said}"),
        },
        (Some(true), None) => "link up, not asked for".to_owned(),
        (Some(false), _) => "no link: check the cable and the switch".to_owned(),
        (None, Some(said)) => format!("down: {said}"),
        (None, None) => "down".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_card_says_what_it_lacks() {
        let card = |name: &str, carrier, speed| Card {
            name: name.to_owned(),
            mac: "52:54:00:12:34:56".to_owned(),
            driver: Some("e1000".to_owned()),
            carrier,
            speed,
        };
        let cards = [card("eth0", Some(true), Some(1000)), card("eth1", Some(false), None)];
        let tried = Tried::from([
            ("eth0".to_owned(), "asked by DHCP, no answer".to_owned()),
            ("eth0.5".to_owned(), "asked by DHCP, no answer".to_owned()),
        ]);
        let hardware = ["8086:15b8 at 0000:00:1f.6".to_owned()];
        insta::assert_snapshot!(table(&cards, &hardware, &tried).join("\n"), @r"
        eth0    52:54:00:12:34:56 e1000       link up (1000 Mbit/s), asked by DHCP, no answer
        eth1    52:54:00:12:34:56 e1000       no link: check the cable and the switch
        eth0.5  asked by DHCP, no answer
        no driver in this boot image for the network hardware 8086:15b8 at 0000:00:1f.6
        ");
        assert_eq!(line(&[], &tried), "there is no network card with a driver");
        assert_eq!(line(&cards[1..], &tried), "eth1 no link: check the cable and the switch");
    }
}
