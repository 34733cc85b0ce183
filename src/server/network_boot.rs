//! The iPXE script of one machine: Remint where a job waits for it or an image is for its model, the menu where that is
//! allowed, its own disk otherwise.
//!
//! Invariant: nothing that a machine or an administrator says can become a line or a command of the script. A script is
//! made of names that were checked, and of texts that have none of the characters that iPXE reads as its own.

use super::database::{self, JobRow, Wish};
use super::problem::Problem;
use super::request::Asked;
use super::{Shared, Site, model_match};
use crate::protocol::Inventory;
use crate::schema::NetworkBoot;
use crate::units::Hex;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::response::{IntoResponse, Response};
use rusqlite::Connection;
use serde::Deserialize;

/// The kernel and the boot image where a profile names none, below `/boot/`.
const KERNEL: &str = "vmlinuz";
const BOOT_IMAGE: &str = "initramfs.img";
/// The longest that is added to the kernel's command line.
const MAX_ARGUMENTS: usize = 1500;

/// Which machine asks.
#[derive(Debug, Deserialize)]
pub(super) struct Card {
    mac: String,
    /// What SMBIOS calls it, in hexadecimal, because boot loaders change what has a meaning in URLs; empty where one does
    /// not know.
    #[serde(default)]
    model: Hex,
}

/// What a machine starts.
#[derive(Debug)]
enum Start {
    /// Remint, for this job.
    Job(Box<JobRow>),
    /// Remint, for the job that it gets once it has said who it is.
    Model(Box<Wish>),
    /// Remint's menu.
    Menu,
    /// Its own disk, for this reason.
    Disk(String),
}

/// `GET /boot/machine.ipxe?mac=MAC&model=MODEL`.
pub(super) async fn script(
    State(site): State<Shared>,
    Asked(card): Asked<Card>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mac = database::mac(&card.mac).ok_or_else(|| {
        Problem::bad_request("mac is the hardware address of a card, such as 52:54:00:12:34:56")
    })?;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_host(host));
    let host = host.map(str::to_owned);
    let text = site
        .read(move |site, c| {
            if !database::has_users(c)? {
                // Boot scripts go on by themselves, as with a server of files.
                return Err(Problem::not_found(
                    "a user (remint admin init), so no machine has a job, and a script",
                ));
            }
            let server = host.map(|host| {
                format!("{}://{host}", if site.fingerprint.is_some() { "https" } else { "http" })
            });
            let starts = |what: &str, mode: &str, boot: &NetworkBoot| -> Result<String, Problem> {
                check_network_boot(boot)?;
                Ok(remint(what, mode, boot, server.as_deref(), site.fingerprint.as_deref()))
            };
            match start(site, c, &mac, &String::from_utf8_lossy(&card.model.0))? {
                Start::Job(job) => {
                    let what = format!("job {}, {} {}", job.id, job.operation, job.image);
                    starts(&what, "run", &job.profile.network_boot)
                }
                Start::Model(matched) => {
                    let what = format!("{}/{} is for this model", matched.image, matched.profile_name);
                    starts(&what, "run", &matched.profile.network_boot)
                }
                Start::Menu => starts("the menu", "menu", &NetworkBoot::default()),
                Start::Disk(why) => Ok(own_disk(&why)),
            }
        })
        .await?;
    // What a machine does now is not what it does at its next start.
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")], text).into_response())
}

fn start(site: &Site, c: &Connection, mac: &str, said: &str) -> Result<Start, Problem> {
    let machine = database::machine_by_card(c, mac)?;
    if let Some(machine) = &machine
        && let Some(job) = database::waiting_job_of(c, machine.id)?
    {
        return Ok(Start::Job(Box::new(job)));
    }
    // What the machine said the last time is what it will say again. Where that gets no job, it must not be sent for one
    // at every start.
    let by_loader = || Inventory {
        macs: vec![mac.to_owned()],
        model: Some(said.trim().to_owned()).filter(|model| !model.is_empty()),
        ..Inventory::default()
    };
    let seen = database::last_said(c, mac)?.unwrap_or_else(by_loader);
    let known = database::find_machine(c, &seen)?;
    if let Some(matched) = model_match::wish_for(c, &site.store, known.as_ref(), &seen)? {
        return Ok(Start::Model(Box::new(matched)));
    }
    if database::settings(c)?.menu_without_job {
        return Ok(Start::Menu);
    }
    Ok(Start::Disk(match machine {
        Some(machine) => match machine.failed_job {
            Some(job) => format!("job {job} of {} failed, and nobody has reset it", machine.name),
            None => format!("no job waits for {}", machine.name),
        },
        None => format!("no machine with the card {mac} is registered"),
    }))
}

/// Loads Remint. `boot.ipxe` goes on by itself where that fails, so that a server that is away stops nobody.
fn remint(
    what: &str,
    mode: &str,
    boot: &NetworkBoot,
    server: Option<&str>,
    fingerprint: Option<&str>,
) -> String {
    let place = |text: Option<&String>, usual: &str| match text {
        Some(url) if url.contains("://") => url.clone(),
        Some(path) => format!("${{server}}/boot/{path}"),
        None => format!("${{server}}/boot/{usual}"),
    };
    let kernel = place(boot.kernel.as_ref(), KERNEL);
    let image = place(boot.boot_image.as_ref(), BOOT_IMAGE);
    let set_server =
        server.map(|server| format!("isset ${{server}} || set server {server}\n")).unwrap_or_default();
    let mut arguments =
        format!("remint.server=${{server}} remint.mode={mode} BOOTIF=01-${{netX/mac:hexhyp}}");
    if let Some(fingerprint) = fingerprint {
        arguments.push_str(&format!(" remint.fingerprint={fingerprint}"));
    }
    arguments.push_str(" ${arguments}");
    if let Some(more) = &boot.arguments {
        arguments.push(' ');
        arguments.push_str(more);
    }
    format!(
        "#!ipxe\necho Remint: {what}\n{set_server}set decision remint\nimgfree\nkernel {kernel} initrd={BOOT_IMAGE} {arguments} || \
         goto failed\ninitrd --name {BOOT_IMAGE} {image} || goto failed\nboot ||\n:failed\nimgfree\nclear decision ||\nexit 1\n"
    )
}

/// Starts the machine from its own disk: BIOS by the number of the disk, UEFI by the next entry of the firmware's list.
fn own_disk(why: &str) -> String {
    format!(
        "#!ipxe\necho Remint: {why} - starting from the own disk\nset decision disk\niseq ${{platform}} efi && exit 1 ||\n\
         sanboot --no-describe --drive 0x80 ||\nexit 1\n"
    )
}

/// What a browser or boot loader may call this server: a host and a port, nothing that iPXE would read as its own.
fn is_host(host: &str) -> bool {
    (1..=255).contains(&host.len())
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_'))
}

/// Refuses what could become another line or command of a script, or another file than one of the boot files.
pub(super) fn check_network_boot(boot: &NetworkBoot) -> Result<(), Problem> {
    for (field, text) in [("kernel", &boot.kernel), ("boot_image", &boot.boot_image)] {
        let Some(text) = text else { continue };
        let path = match text.split_once("://") {
            Some(("http" | "https" | "tftp", path)) => path,
            Some(_) => return Err(refused(field, "its URL is not one of http, https and tftp")),
            None if text.split('/').any(|part| matches!(part, "" | "." | "..")) => {
                return Err(refused(field, "it is neither a URL nor a path below the boot files"));
            }
            None => text,
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@%+=~,?[]".contains(c);
        if path.is_empty() || text.len() > MAX_ARGUMENTS || !path.chars().all(allowed) {
            return Err(refused(field, "it holds characters that no such name has"));
        }
    }
    let Some(arguments) = &boot.arguments else { return Ok(()) };
    if arguments.len() > MAX_ARGUMENTS {
        return Err(refused("arguments", &format!("they are longer than {MAX_ARGUMENTS} characters")));
    }
    if arguments.chars().any(|c| c.is_control() || "$`\\';|&{}<>#".contains(c)) {
        let fact =
            "they hold a line break or one of $ ` \\ ' ; | & { } < > #, which boot loaders read as their own";
        return Err(refused("arguments", fact));
    }
    Ok(())
}

fn refused(field: &str, fact: &str) -> Problem {
    Problem::bad_request(format!("network_boot.{field} cannot be used: {fact}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_a_line_of_the_script() {
        let with = |kernel: &str, arguments: &str| NetworkBoot {
            kernel: Some(kernel.to_owned()),
            boot_image: None,
            arguments: Some(arguments.to_owned()),
        };
        for (kernel, arguments) in [
            ("own/vmlinuz", "quiet remint.loglevel=debug"),
            ("http://10.0.0.1:8460/boot/vmlinuz", "remint.job=\"inspect --json\""),
        ] {
            check_network_boot(&with(kernel, arguments)).unwrap();
            let script =
                remint("job 1", "run", &with(kernel, arguments), Some("http://10.0.2.2:8460"), Some("8f3c"));
            assert_eq!(script.lines().count(), 12, "{script}");
            assert!(script.starts_with("#!ipxe\n") && script.contains(arguments), "{script}");
            assert!(
                script.contains(" remint.mode=run ") && script.contains(" remint.fingerprint=8f3c "),
                "{script}"
            );
        }
        for (kernel, arguments) in [
            ("vmlinuz\nshell", "quiet"),
            ("vmlinuz || shell", "quiet"),
            ("../secret", "quiet"),
            ("/etc/passwd", "quiet"),
            ("file:///etc/passwd", "quiet"),
            ("http://", "quiet"),
            ("vmlinuz", "quiet\nshell"),
            ("vmlinuz", "quiet || shell"),
            ("vmlinuz", "${net0/dhcp}"),
            ("vmlinuz", "quiet\rshell"),
        ] {
            assert!(check_network_boot(&with(kernel, arguments)).is_err(), "{kernel} {arguments}");
        }
        for host in ["10.0.2.2:8460", "server", "[fe80::1]:8460"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "a b", "a\nshell", "a/b", "${x}"] {
            assert!(!is_host(host), "{host}");
        }
    }
}
