//! A PostgreSQL server for the length of a test: the system's own program with a fresh database, on a port of 127.0.0.1 and
//! a socket.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::certificates::CertificateFiles;

/// Where Debian keeps the programs of each version, in `VERSION/bin`; elsewhere they are on PATH.
const DEBIAN_VERSIONS: &str = "/usr/lib/postgresql";
/// `nobody`, who the server runs as where the test runs as root, because it refuses to be root.
const NOBODY: u32 = 65534;
/// Between asking for a free port and taking it, another process may.
const PORT_ATTEMPTS: usize = 5;

/// A running server with a superuser `postgres` and a database of that name; dropping it stops it and deletes all.
pub struct PostgresServer {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
}

/// How a server lets clients in.
#[derive(Debug, Clone, Default)]
pub struct PostgresAccess<'a> {
    /// The password that `postgres` and everybody else must show (SCRAM); without one nobody needs any.
    pub password: Option<&'a str>,
    /// Its certificate for TLS; without one it offers none.
    pub certificate: Option<&'a CertificateFiles>,
}

impl PostgresServer {
    /// Starts one; `None` where there is no such program.
    ///
    /// # Panics
    /// If there is one and it can't be started.
    pub fn start(access: &PostgresAccess<'_>) -> Option<Self> {
        let programs = programs()?;
        let folder = TempDir::new().expect("a folder can be made");
        let mut server = Self { programs, folder, port: 0 };
        give_away(server.folder.path());
        server.initialise(access);
        let mut problems = String::new();
        for _ in 0..PORT_ATTEMPTS {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
            server.port = listener.local_addr().expect("it is bound").port();
            drop(listener);
            match server.launch() {
                Ok(()) => return Some(server),
                Err(problem) => problems.push_str(&problem),
            }
        }
        panic!("the server can't be started: {problems}");
    }

    /// Of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// `postgres://USER@127.0.0.1:PORT/postgres`.
    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn initialise(&self, access: &PostgresAccess<'_>) {
        let mut initdb = self.command("initdb");
        initdb.args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        initdb.arg("--pgdata").arg(self.data());
        if let Some(password) = access.password {
            let file = self.folder.path().join("password");
            fs::write(&file, password).expect("the folder can be written to");
            give_away(&file);
            initdb.arg("--auth=scram-sha-256").arg("--pwfile").arg(&file);
        } else {
            initdb.arg("--auth=trust");
        }
        run(&mut initdb).expect("a database can be made");
        // Nothing here outlives a crash of the machine.
        let mut settings = String::from("fsync = off\nlisten_addresses = '127.0.0.1'\n");
        if let Some(files) = access.certificate {
            settings.push_str("ssl = on\n");
            for (from, to) in [(&files.cert, "server.crt"), (&files.key, "server.key")] {
                let to = self.data().join(to);
                fs::copy(from, &to).expect("the certificate can be copied");
                // As the server demands of the key.
                fs::set_permissions(&to, Permissions::from_mode(0o600)).expect("it is ours");
                give_away(&to);
            }
        }
        let file = self.data().join("postgresql.auto.conf");
        fs::write(&file, settings).expect("the settings can be written");
        give_away(&file);
    }

    /// Returns when it takes connections.
    fn launch(&self) -> Result<(), String> {
        let options = format!("-p {} -k {}", self.port, self.folder.path().display());
        let log = self.folder.path().join("log");
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl.arg("start").arg("--wait").arg("--pgdata").arg(self.data()).arg("--log").arg(&log);
        run(pg_ctl.arg("--options").arg(options))
            .map_err(|problem| format!("{problem}\n{}", fs::read_to_string(log).unwrap_or_default()))
    }

    /// One of its programs, as the user that it runs as.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let mut pg_ctl = self.command("pg_ctl");
        // It may not have been started.
        let _ = run(pg_ctl.arg("stop").args(["--mode=immediate", "--pgdata"]).arg(self.data()));
    }
}

/// Makes the user that the server runs as the owner.
fn give_away(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root may do this");
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN_VERSIONS).into_iter().flatten().flatten();
    let number = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(|folder| number(folder));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = newest.map(|folder| folder.join("bin")).into_iter().chain(std::env::split_paths(&path));
    folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("pg_ctl").exists())
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
