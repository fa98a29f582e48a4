//! `manual FOLDER`: the man pages and the shells' completions, made of the command line itself.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use central_forwarder::cli::Arguments;
use clap::CommandFactory as _;
use clap_complete::Shell;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: manual FOLDER")?;
    let folder = PathBuf::from(folder);
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;

    let mut command = Arguments::command();
    clap_mangen::generate_to(command.clone(), pages)?;
    let name = command.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, &name, &completions)?;
    }
    Ok(())
}
