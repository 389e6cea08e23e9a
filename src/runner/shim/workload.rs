//! The last steps inside the container: privileges dropped, the filter installed, the program run.
//!
//! libcontainer calls a [`Workload`] in the container's init, after namespaces, root, user and working directory are in
//! place.

use std::ffi::CString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libcontainer::syscall::syscall::create_syscall;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::errno::Errno;
use oci_spec::runtime::{Process, Spec};

use super::report;
use crate::runner::privileges::Privileges;
use crate::sys;

/// What an `execve` that fails after all checks exits with, as runc's init does.
const CANNOT_EXEC: i32 = 255;

/// Runs the container's program.
#[derive(Clone)]
pub(super) struct Workload {
    /// Capabilities to keep.
    pub(super) privileges: Privileges,
    /// Compiled seccomp filter.
    pub(super) filter: Option<Vec<u8>>,
}

impl Executor for Workload {
    /// Before the container waits for its start: everything that can fail, so that `create` can say so.
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        self.restrict().and_then(|()| find_program(process(spec)?)).map(drop).map_err(|message| {
            report::failed(&message);
            ExecutorValidationError::ArgValidationError(message)
        })
    }

    /// The environment is given to execve as it stands in the specification.
    fn setup_envs(&self, _: std::collections::HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let error = self.run(spec).expect_err("execve does not return when it succeeds");
        // The start was answered already: the log is where the user will look.
        let _ = writeln!(std::io::stderr(), "{error}");
        std::process::exit(CANNOT_EXEC);
    }
}

impl Workload {
    /// Without no_new_privs the filter needs CAP_SYS_ADMIN, so it comes before the capabilities go.
    fn restrict(&self) -> Result<(), String> {
        if !self.privileges.no_new_privileges {
            self.install_filter()?;
        }
        match &self.privileges.capabilities {
            Some(keep) => libcontainer::capabilities::drop_privileges(keep, &*create_syscall())
                .map_err(|error| format!("cannot drop capabilities: {error}")),
            None => Ok(()),
        }
    }

    fn install_filter(&self) -> Result<(), String> {
        match &self.filter {
            Some(filter) => {
                sys::seccomp::install(filter).map_err(|e| format!("cannot install the seccomp filter: {e}"))
            }
            None => Ok(()),
        }
    }

    fn run(&self, spec: &Spec) -> Result<std::convert::Infallible, String> {
        let process = process(spec)?;
        let program = find_program(process)?;
        let strings = |list: &Option<Vec<String>>| -> Vec<CString> {
            list.iter().flatten().filter_map(|text| CString::new(text.as_bytes()).ok()).collect()
        };
        let (args, env) = (strings(process.args()), strings(process.env()));
        let path = CString::new(program.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        sys::process::default_signals();
        if self.privileges.no_new_privileges {
            self.install_filter()?;
        }
        nix::unistd::execve(&path, &args, &env).map_err(|error| format!("exec {}: {}", program.display(), words(error)))
    }
}

fn process(spec: &Spec) -> Result<&Process, String> {
    spec.process().as_ref().ok_or_else(|| "the specification has no process".to_owned())
}

/// Finds the program as Go's `exec.LookPath` does, whose words clients know, in the container's own `PATH`.
fn find_program(process: &Process) -> Result<PathBuf, String> {
    let name = process.args().iter().flatten().next().ok_or("no command specified")?;
    if name.contains('/') {
        return match runnable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                Err(format!("exec: {name:?}: stat {name}: no such file or directory"))
            }
            Err(error) => Err(format!("exec: {name:?}: {}", words(error))),
        };
    }
    let path = process.env().iter().flatten().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    path.split(':')
        .map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(name))
        .find(|candidate| runnable(candidate).is_ok())
        .ok_or_else(|| format!("exec: {name:?}: executable file not found in $PATH"))
}

fn runnable(path: &Path) -> Result<(), Errno> {
    let metadata = nix::sys::stat::stat(path)?;
    if metadata.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    use nix::fcntl::{AT_FDCWD, AtFlags};
    nix::unistd::faccessat(AT_FDCWD, path, nix::unistd::AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

/// The error's text as C and Go write it: lower case.
fn words(error: Errno) -> String {
    match error {
        // The docker CLI makes 126 of these words; older ones know the first two only.
        Errno::EISDIR => "permission denied: is a directory".to_owned(),
        _ => error.desc().to_lowercase(),
    }
}
