//! A job as it is written on the kernel's command line: commands of this program, one after the other.
//!
//! `capture lab --to @/store && verify lab --from @/store`: words are parted by spaces, single or double quotes
//! keep a word together, a backslash takes the next character as it is. `&&` and `;` part commands. `@` at the
//! beginning of a word is the server's URL.

use crate::schema::Destination;

/// The arguments of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The words behind `remint`.
    pub arguments: Vec<String>,
    /// True where it runs although the one before it failed: it stands behind `;`.
    pub always: bool,
}

/// A text that is not a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Nothing in it, or nothing between two separators.
    #[error("a command is missing; write for example remint.job=\"inspect --json\"")]
    Empty,
    /// A quote without its end.
    #[error("a quote ({0}) is not closed")]
    Unclosed(char),
    /// Something a shell would do and this program does not.
    #[error(
        "\"{0}\" is for a shell; a job has only commands of remint with && or ; between them (for more, use remint.script=)"
    )]
    Shell(String),
}

/// Takes a job apart.
///
/// # Errors
/// Where it is empty, a quote is open, or it wants a shell.
pub fn parse(text: &str) -> Result<Vec<Command>, JobError> {
    let mut commands = Vec::new();
    let mut arguments: Vec<String> = Vec::new();
    let mut always = false;
    let mut word: Option<String> = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        None => return Err(JobError::Unclosed(c)),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.push(characters.next().unwrap_or('\\')),
                        Some(inner) => word.push(inner),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(characters.next().unwrap_or('\\')),
            ';' | '&' => {
                if c == '&' && characters.next_if_eq(&'&').is_none() {
                    return Err(JobError::Shell("&".to_owned()));
                }
                arguments.extend(word.take());
                commands.push(finish(&mut arguments, always)?);
                always = c == ';';
            }
            '|' | '<' | '>' | '`' | '$' | '(' | ')' => return Err(JobError::Shell(c.to_string())),
            c if c.is_whitespace() => arguments.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    arguments.extend(word.take());
    // A `;` may end a job, as it may end a line of a shell.
    if !(arguments.is_empty() && always) {
        commands.push(finish(&mut arguments, always)?);
    }
    Ok(commands)
}

fn finish(arguments: &mut Vec<String>, always: bool) -> Result<Command, JobError> {
    let mut arguments = std::mem::take(arguments);
    if arguments.first().is_some_and(|first| first == "remint") {
        arguments.remove(0);
    }
    if arguments.is_empty() { Err(JobError::Empty) } else { Ok(Command { arguments, always }) }
}

/// True where a command of the job speaks to a server: it names one with `@`, or a URL.
#[must_use]
pub fn needs_network(commands: &[Command]) -> bool {
    commands.iter().flat_map(|command| &command.arguments).any(|word| word.contains("://") || is_server(word))
}

/// True where a command of the job names the server with `@`.
#[must_use]
pub fn needs_server(commands: &[Command]) -> bool {
    commands.iter().flat_map(|command| &command.arguments).any(|word| is_server(word))
}

/// The devices and disks that the job names.
#[must_use]
pub fn devices(commands: &[Command]) -> Vec<Destination> {
    let words = commands.iter().flat_map(|command| &command.arguments);
    words.filter_map(|word| device_in(word)).collect()
}

fn device_in(word: &str) -> Option<Destination> {
    let value = word.rsplit('=').next().unwrap_or(word);
    let Ok(disk) = value.parse::<Destination>();
    match disk {
        Destination::Serial(_) | Destination::Wwn(_) => Some(disk),
        Destination::Path(_) => {
            let device = word.get(word.find("/dev/")?..)?;
            (device.len() > "/dev/".len()).then(|| Destination::Path(device.to_owned()))
        }
    }
}

/// A word with the server's URL put in for `@`, also behind `--option=`.
#[must_use]
pub fn with_server(word: &str, server: &str) -> String {
    let (option, value) = option_and_value(word);
    match value.strip_prefix('@').filter(|_| is_server(word)) {
        Some(path) => format!("{option}{}{path}", server.trim_end_matches('/')),
        None => word.to_owned(),
    }
}

fn is_server(word: &str) -> bool {
    let (_, value) = option_and_value(word);
    value == "@" || value.starts_with("@/")
}

fn option_and_value(word: &str) -> (&str, &str) {
    match word.find('=').filter(|_| word.starts_with("--")) {
        Some(at) => word.split_at(at.saturating_add(1)),
        None => ("", word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(always: bool, words: &[&str]) -> Command {
        Command { arguments: words.iter().map(|word| (*word).to_owned()).collect(), always }
    }

    #[test]
    fn jobs_are_taken_apart_like_a_shell_takes_them() {
        assert_eq!(
            parse(
                "capture lab --to @/store --comment 'room 5; \"left\"'&& verify lab --from=@/store ;inspect"
            )
            .unwrap(),
            [
                command(false, &["capture", "lab", "--to", "@/store", "--comment", "room 5; \"left\""]),
                command(false, &["verify", "lab", "--from=@/store"]),
                command(true, &["inspect"]),
            ]
        );
        assert_eq!(parse("remint inspect;").unwrap(), [command(false, &["inspect"])]);
        assert_eq!(
            parse(r#"inspect a\ b "c\"d" ''"#).unwrap(),
            [command(false, &["inspect", "a b", "c\"d", ""])]
        );
        assert_eq!(parse("inspect 'open"), Err(JobError::Unclosed('\'')));
        assert_eq!(parse(""), Err(JobError::Empty));
        assert_eq!(parse("a && "), Err(JobError::Empty));
        assert_eq!(parse("a ;; b"), Err(JobError::Empty));
        assert_eq!(parse("inspect | cat"), Err(JobError::Shell("|".to_owned())));
        assert_eq!(parse("inspect & inspect"), Err(JobError::Shell("&".to_owned())));
    }

    #[test]
    fn the_server_is_put_in_where_it_is_meant() {
        let with = |word| with_server(word, "http://s:1/");
        assert_eq!(with("@/store"), "http://s:1/store");
        assert_eq!(with("@"), "http://s:1");
        assert_eq!(with("--from=@/store"), "http://s:1/store".replace("http", "--from=http"));
        assert_eq!(with("lab@2026"), "lab@2026");
        assert_eq!(with("@home"), "@home");
        assert_eq!(with("a=@/x"), "a=@/x");
        let job = parse("capture x --to /mnt --disk /dev/sda --disk=/dev/sdb").unwrap();
        assert!(!needs_network(&job) && !needs_server(&job));
        assert_eq!(devices(&job), ["/dev/sda", "/dev/sdb"].map(|path| Destination::Path(path.to_owned())));
        let job = parse("deploy x --from /mnt --disk serial:WD --disk=d1=wwn:naa.5 --comment /dev/").unwrap();
        assert_eq!(
            devices(&job),
            [Destination::Serial("WD".to_owned()), Destination::Wwn("naa.5".to_owned())]
        );
        assert!(needs_network(&parse("images http://s/store").unwrap()));
        assert!(needs_server(&parse("images @/store").unwrap()));
    }
}
