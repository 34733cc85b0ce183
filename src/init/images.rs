//! The partition with images that a job without a network reads and writes: `remint.images=`.

use super::say_step;
use crate::linux::volumes;
use std::fmt;
use std::time::{Duration, Instant};

/// Where it is mounted.
pub(super) const MOUNT_POINT: &str = "/media/images";
/// How long it is waited for: a stick behind a hub takes its time.
const WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
/// What can stand before `=`, as `mount` knows it.
const NAMES: [&str; 4] = ["LABEL", "UUID", "PARTLABEL", "PARTUUID"];

/// The partition, as the parameter names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Reads the parameter's value.
pub(super) fn parse(text: &str) -> Result<Place, String> {
    let plain = |text: &str| {
        !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
    };
    let fits = match text.split_once('=') {
        Some((name, value)) => NAMES.contains(&name) && plain(value),
        None => text.strip_prefix("/dev/").is_some_and(plain),
    };
    if fits {
        Ok(Place(text.to_owned()))
    } else {
        Err(format!("\"{text}\" names no partition; write for example LABEL=REMINT-IMAGES or /dev/sdb3"))
    }
}

/// Mounts it, once it is there.
pub(super) fn mount(place: &Place) -> Result<(), String> {
    let said = |fact: String| format!("remint.images={place}: {fact}");
    let begin = Instant::now();
    let device = loop {
        let mut found = volumes::named(&place.0).map_err(|error| said(error.to_string()))?;
        match (found.pop(), found.len()) {
            (Some(device), 0) => break device,
            // Whose images they are is not for us to guess.
            (Some(last), _) => {
                found.push(last);
                return Err(said(format!(
                    "{} are called so: unplug one of them, or use UUID=",
                    found.join(", ")
                )));
            }
            (None, _) if begin.elapsed() >= WAIT => {
                return Err(said(format!(
                    "there is none after {} seconds; `blkid` lists what there is",
                    WAIT.as_secs()
                )));
            }
            (None, _) => std::thread::sleep(PAUSE),
        }
    };
    volumes::mount(&device, MOUNT_POINT).map_err(|error| said(error.to_string()))?;
    say_step(&format!("images of {device} are under {MOUNT_POINT}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_name_or_a_device() {
        for good in ["LABEL=REMINT-IMAGES", "UUID=1234-ABCD", "PARTLABEL=my images", "/dev/disk/by-id/x"] {
            assert_eq!(parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "LABEL=", "label=x", "/dev/", "/media", "SIZE=4", "REMINT-IMAGES", "LABEL=a\u{7}"] {
            assert!(parse(bad).unwrap_err().contains("LABEL=REMINT-IMAGES"), "{bad}");
        }
    }
}
