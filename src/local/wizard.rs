//! What the setup wizard finds in a folder, and leaves there.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use security::{Password, random_password};

use crate::Error;
use crate::files::{private_folder, read_text, write_whole};
use crate::home::Paths;

/// The password that unlocks the wizard where nobody has given one: made once, and kept in the home until the setup has ended.
pub fn initial_password(paths: &Paths) -> Result<Password, Error> {
    let path = paths.initial_password();
    if let Some(text) = read_text(&path)?.filter(|text| !text.trim().is_empty()) {
        return Ok(Password::new(text.trim()));
    }
    let password = random_password().map_err(|error| Error::Refused(error.to_string()))?;
    if let Some(folder) = path.parent() {
        private_folder(folder)?;
    }
    write_whole(&path, &format!("{}\n", password.expose()))?;
    Ok(password)
}

/// The wizard has ended: passwords that unlocked it, in the home and in the folder that all replicas share, are good for
/// nothing any more. Whoever gives commands in that folder reads there whose the token beside it is.
pub fn setup_done(paths: &Paths, shared: &Path, user: &str) -> Result<(), Error> {
    remove(&paths.initial_password())?;
    let shared = Paths::new(shared);
    if shared.admin_token().exists() {
        write_whole(&shared.admin_name(), &format!("{user}\n"))?;
    }
    remove(&shared.admin_password())
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whose the token of a folder is: the user whom the wizard has made, or the one that the folder was made with.
pub(crate) fn admin_name(paths: &Paths) -> Result<Option<String>, Error> {
    Ok(read_text(&paths.admin_name())?.map(|text| text.trim().to_owned()).filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_password_is_made_once_for_its_owner_alone_and_goes_when_the_setup_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path().join("home"));
        let first = initial_password(&paths).unwrap();
        assert_eq!(initial_password(&paths).unwrap(), first);
        let mode = fs::metadata(paths.initial_password()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        setup_done(&paths, folder.path(), "ann").unwrap();
        assert!(!paths.initial_password().exists());
        assert_eq!(admin_name(&Paths::new(folder.path())).unwrap(), None, "there is no token");
        setup_done(&paths, folder.path(), "ann").unwrap();
        assert_ne!(initial_password(&paths).unwrap(), first);
    }

    #[test]
    fn commands_in_the_folder_are_told_whose_its_token_is() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path());
        for file in ["admin-token", "admin-password"] {
            fs::write(folder.path().join(file), "x\n").unwrap();
        }
        setup_done(&paths, folder.path(), "ann").unwrap();
        assert_eq!(admin_name(&paths).unwrap().as_deref(), Some("ann"));
        assert!(!paths.admin_password().exists() && paths.admin_token().exists());
    }
}
