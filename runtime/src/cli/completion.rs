//! `talea completion`: the script that makes a shell complete this command's words.

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::Context;
use super::exit::{Exit, Ran};

/// What `talea completion` takes.
#[derive(Debug, Args)]
#[command(after_help = "Install:
  talea completion bash > ~/.local/share/bash-completion/completions/talea
  talea completion zsh > \"${fpath[1]}/_talea\"
  talea completion fish > ~/.config/fish/completions/talea.fish")]
pub(super) struct CompletionArgs {
    /// The shell
    shell: ShellName,
}

/// Shells people use; the generator knows more.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
}

/// Runs `talea completion`.
pub(super) fn run(args: &CompletionArgs, context: &Context) -> Ran {
    let shell = match args.shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Zsh => Shell::Zsh,
        ShellName::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::grammar(), "talea", &mut script);
    context.screen.bytes(&script);
    Ok(Exit::Ok)
}
