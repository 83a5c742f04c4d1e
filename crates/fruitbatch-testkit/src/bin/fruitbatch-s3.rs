//! The S3 server of the tests as a program, for containers on machines that can pull no other: see `deploy/compose`.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use fruitbatch_testkit::s3_server::S3Server;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
usage: fruitbatch-s3 --bind ADDRESS:PORT FOLDER
       fruitbatch-s3 --keys

Serves copies of the folders in FOLDER as buckets. All objects lie in memory: what is written goes with the process, and FOLDER
stays as it was. The one pair of keys is in the source code; --keys prints it as lines of an env file.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--keys"] => {
            let server = S3Server::start();
            println!("S3_ACCESS_KEY={}\nS3_SECRET_KEY={}", server.access_key(), server.secret_key());
            ExitCode::SUCCESS
        }
        ["--bind", address, folder] => match serve(address, Path::new(folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        ["--help" | "-h"] => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn serve(address: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = address.parse().map_err(|error| format!("`{address}`: {error}"))?;
    let server = S3Server::start_at(address).map_err(|error| format!("{address}: {error}"))?;
    for bucket in names_in(folder)? {
        server.create_bucket(&bucket);
        let mut objects = 0;
        put_below(&server, &bucket, &folder.join(&bucket), "", &mut objects)?;
        eprintln!("bucket {bucket}: {objects} objects");
    }
    eprintln!("S3 at {}", server.endpoint_url());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        // As the first process of a container it would ignore both otherwise.
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

/// Puts every file below `folder` into the bucket, under `prefix` and its path.
fn put_below(
    server: &S3Server,
    bucket: &str,
    folder: &Path,
    prefix: &str,
    objects: &mut usize,
) -> Result<(), Box<dyn Error>> {
    for name in names_in(folder)? {
        let (path, key) = (folder.join(&name), format!("{prefix}{name}"));
        if path.is_dir() {
            put_below(server, bucket, &path, &format!("{key}/"), objects)?;
        } else {
            let content = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            server.put_object(bucket, &key, content);
            *objects += 1;
        }
    }
    Ok(())
}

fn names_in(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    std::fs::read_dir(folder)
        .map_err(|error| format!("{}: {error}", folder.display()))?
        .map(|entry| {
            let name = entry?.file_name();
            Ok(name.into_string().map_err(|name| format!("{} is no text", name.display()))?)
        })
        .collect()
}
