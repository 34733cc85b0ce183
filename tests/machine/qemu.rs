//! A virtual machine: started, steered over QMP, and gone when it is dropped.

use super::console::Console;
use super::disks;
use super::scenario::{Boot, Ends, Firmware, Network, Scenario};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const OVMF: &str = "/usr/share/OVMF";

pub struct Machine {
    emulator: Child,
    pub console: Console,
    /// Why the machine went down, once it has.
    down: Receiver<String>,
}

/// What a machine boots, made before it starts.
pub struct Media<'a> {
    /// Folder for what the machine changes.
    pub folder: &'a Path,
    /// `target/boot`.
    pub boot: &'a Path,
    /// What TFTP serves.
    pub tftp: &'a Path,
    pub command_line: &'a str,
}

impl Machine {
    pub fn start(scenario: &Scenario, media: &Media, log: &Path) -> Self {
        let socket = media.folder.join("qmp");
        let errors = std::fs::File::create(media.folder.join("qemu.log")).unwrap();
        let mut command = Command::new("qemu-system-x86_64");
        if let Some(script) = scenario.network.script() {
            command = in_own_network(script);
            command.arg(media.folder).arg(env!("CARGO_BIN_EXE_remint")).arg("qemu-system-x86_64");
        }
        let mut emulator = command
            .args(options(scenario, media))
            .args(["-S", "-qmp", &format!("unix:{},server=on,wait=off", socket.display())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("qemu-system-x86_64: {error}; run make setup"));
        let (keyboard, output) = (emulator.stdin.take().unwrap(), emulator.stdout.take().unwrap());
        let console = Console::new(output, keyboard, log);
        let (sender, down) = channel();
        let mut machine = Self { emulator, console, down };
        let mut monitor = machine.connect(&socket, &media.folder.join("qemu.log"));
        let mut answers = BufReader::new(monitor.try_clone().unwrap()).lines();
        let mut tell = |command: Value| {
            monitor.write_all(format!("{command}\n").as_bytes()).unwrap();
            let answer = answers.by_ref().map(Result::unwrap).find(|line| !line.contains("\"event\""));
            assert!(
                answer.as_deref().is_some_and(|line| !line.contains("\"error\"")),
                "{command}: {answer:?}"
            );
        };
        // The first answer is the greeting.
        tell(json!({"execute": "qmp_capabilities"}));
        for (number, card) in scenario.card.iter().enumerate() {
            let arguments = json!({"name": format!("card{number}"), "up": card.connected});
            tell(json!({"execute": "set_link", "arguments": arguments}));
        }
        tell(json!({"execute": "cont"}));
        std::thread::spawn(move || {
            // The monitor stays open as long as its answers are read.
            let _monitor = monitor;
            for line in answers.map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["event"] == "SHUTDOWN" {
                    let _ = sender.send(event["data"]["reason"].as_str().unwrap_or_default().to_owned());
                }
            }
        });
        machine
    }

    fn connect(&mut self, socket: &Path, errors: &Path) -> UnixStream {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(stream) = UnixStream::connect(socket) {
                return stream;
            }
            let ended = self.emulator.try_wait().unwrap();
            let said = || std::fs::read_to_string(errors).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "the emulator does not start: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How the machine went down.
    pub fn end(&mut self, deadline: Instant) -> Result<Ends, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.down.recv_timeout(left).as_deref() {
            Ok("guest-shutdown") => Ok(Ends::Poweroff),
            Ok("guest-reset") => Ok(Ends::Reboot),
            Ok(other) => Err(format!("it went down by {other}")),
            Err(_) => Err("it did not go down".to_owned()),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

fn options(scenario: &Scenario, media: &Media) -> Vec<String> {
    let mut options = accelerator().to_vec();
    let mut add = |words: &[&str]| options.extend(words.iter().map(|word| (*word).to_owned()));
    let memory = scenario.memory_mib.to_string();
    // No screen, no keyboard, and nothing else that was not asked for; what resets ends.
    add(&["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot", "-m", &memory]);
    add(&["-device", "virtio-rng-pci"]);
    if let Some(clock) = &scenario.clock {
        add(&["-rtc", &format!("base={clock}")]);
    }
    if let Some(model) = &scenario.model {
        add(&["-smbios", &format!("type=1,manufacturer=Remint,product={model}")]);
    }
    match scenario.firmware {
        Firmware::Bios => add(&["-machine", "pc,graphics=off"]),
        Firmware::Uefi => add(&["-machine", "q35,graphics=off"]),
        Firmware::UefiSecureBoot => {
            add(&["-machine", "q35,graphics=off,smm=on"]);
            add(&["-global", "driver=cfi.pflash01,property=secure,value=on"]);
        }
    }
    if scenario.firmware != Firmware::Bios {
        let keys = if scenario.firmware == Firmware::UefiSecureBoot { ".ms" } else { "" };
        let kept = scenario.variables.as_ref().map(|name| media.folder.join(format!("variables-{name}")));
        let variables = kept.clone().unwrap_or_else(|| media.folder.join("variables.fd"));
        if kept.is_none_or(|kept| !kept.exists()) {
            std::fs::copy(format!("{OVMF}/OVMF_VARS_4M{keys}.fd"), &variables)
                .unwrap_or_else(|error| panic!("{OVMF}: {error}; run make setup"));
        }
        let code = format!("if=pflash,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M{keys}.fd");
        add(&["-drive", &code]);
        add(&["-drive", &format!("if=pflash,format=raw,file={}", variables.display())]);
    }
    let boot = |file: &str| media.boot.join(file).display().to_string();
    match scenario.boot {
        Boot::Network | Boot::Disk => {}
        Boot::Iso => {
            add(&["-drive", &format!("if=none,id=iso,media=cdrom,format=raw,file={}", boot("remint.iso"))]);
            add(&["-device", "ahci,id=cd", "-device", "ide-cd,bus=cd.0,drive=iso,bootindex=0"]);
        }
        Boot::Usb => {
            let own = media.folder.join("stick");
            let stick = if own.exists() { own.display().to_string() } else { boot("remint-usb.img") };
            // What the machine writes to the stick is forgotten.
            let image = format!("if=none,id=stick,format=raw,snapshot=on,file={stick}");
            add(&["-drive", &image, "-device", "qemu-xhci,id=sticks"]);
            add(&["-device", "usb-storage,bus=sticks.0,drive=stick,bootindex=0,removable=on"]);
        }
        Boot::Kernel => {
            add(&["-kernel", &boot("vmlinuz"), "-initrd", &boot("initramfs.img")]);
            add(&["-append", media.command_line]);
        }
    }
    for (number, card) in scenario.card.iter().enumerate() {
        let (tftp, boot_file) = (media.tftp.display(), &scenario.boot_file);
        let host = match scenario.network {
            // The first card gets 10.0.2.15, the next one 10.0.2.16.
            Network::User => format!(
                "user,id=net{number},dhcpstart=10.0.2.{},tftp={tftp},bootfile={boot_file}",
                15 + number
            ),
            _ => format!("tap,id=net{number},ifname=tap0,script=no,downscript=no"),
        };
        let order =
            if scenario.boot == Boot::Network { format!(",bootindex={number}") } else { String::new() };
        // Without its boot ROM the firmware's own PXE is what boots.
        let rom = if scenario.boot_file == "boot.ipxe" { "" } else { ",romfile=" };
        let rom = if scenario.firmware == Firmware::Bios { "" } else { rom };
        let device =
            format!("{},netdev=net{number},id=card{number},mac={}{order}{rom}", card.model, mac(number));
        add(&["-netdev", &host, "-device", &device]);
    }
    for (number, disk) in scenario.disk.iter().enumerate() {
        let file = disks::file(disk, number, media.folder);
        let words = disks::options(disk, number, &file);
        add(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    options
}

/// The address of a card.
pub fn mac(number: usize) -> String {
    format!("52:54:00:00:00:{:02x}", number + 1)
}

/// A script of `tests/machine`, in namespaces of its own, which end with it.
fn in_own_network(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
    command
}

/// Whether a network of its own can be made here: it needs root, namespaces, bridges and taps.
pub fn own_network_works(script: &str) -> bool {
    let probe = in_own_network(script).arg("probe").stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}

/// KVM where it works: under some hypervisors it is there, and a kernel hangs. What is emulated has one processor: with two, kernels
/// ended in "Oops: int3" now and then. Probably one took the breakpoint that the other one had removed from Linux's code just before.
pub fn accelerator() -> &'static [String] {
    static FOUND: OnceLock<Vec<String>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let words: &[&str] = if kvm_works() {
            println!("virtual machines run on this processor (KVM)");
            &["-accel", "kvm", "-cpu", "host", "-smp", "2"]
        } else {
            println!("virtual machines are emulated: KVM is not there or does not work");
            &["-accel", "tcg", "-cpu", "max", "-smp", "1"]
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    })
}

fn kvm_works() -> bool {
    let kvm = Path::new("/dev/kvm");
    if std::fs::OpenOptions::new().read(true).write(true).open(kvm).is_err() {
        return false;
    }
    let kernel = super::boot_folder().join("vmlinuz");
    let mut words = vec!["-accel", "kvm", "-cpu", "host", "-m", "512", "-nodefaults", "-display", "none"];
    words.extend(["-no-reboot", "-serial", "stdio", "-append", "console=ttyS0 panic=-1", "-kernel"]);
    let emulator = Command::new("qemu-system-x86_64")
        .args(words)
        .arg(kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut emulator) = emulator else { return false };
    let output = emulator.stdout.take().unwrap();
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        // With nothing to start, a kernel that works says so soon.
        let said =
            BufReader::new(output).lines().map_while(Result::ok).any(|line| line.contains("VFS: Unable"));
        let _ = sender.send(said);
    });
    let works = seen.recv_timeout(Duration::from_secs(10)).unwrap_or(false);
    let _ = emulator.kill();
    let _ = emulator.wait();
    works
}
