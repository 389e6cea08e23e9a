//! Who a container's process is: user and groups, by the image's own `passwd` (passwd(5)) and `group` (group(5)).

use super::{OciError, OciInput};

/// A process's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// With the primary group, as Docker lists them.
    pub(super) groups: Vec<u32>,
    /// The user's home directory.
    pub(super) home: String,
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Lines that make no sense are passed over, as libc does.
fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let home = fields.nth(1).unwrap_or_default();
        Some(Account { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Group { name, gid: gid.parse().ok()?, members: fields.next().unwrap_or_default() })
    })
}

/// Resolves `user[:group]` by name or number; an empty text is root.
pub(super) fn resolve(input: &OciInput<'_>, text: &str) -> Result<Identity, OciError> {
    let passwd = input.passwd.as_deref().unwrap_or_default();
    let group_file = input.group.as_deref().unwrap_or_default();
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let user = if user.is_empty() { "0" } else { user };
    // A name may consist of digits: the first line that matches in either way wins.
    let account = accounts(passwd).find(|account| account.name == user || account.uid.to_string() == user);
    let (uid, mut gid, home) = match &account {
        Some(account) => (account.uid, account.gid, account.home),
        None => (number(user)?.ok_or_else(|| unknown("user", user, "passwd"))?, 0, ""),
    };
    let mut listed = Vec::new();
    if group.is_empty() {
        let member_of = |group: &Group<'_>| {
            account.as_ref().is_some_and(|account| group.members.split(',').any(|member| member == account.name))
        };
        listed.extend(groups(group_file).filter(member_of).map(|group| group.gid));
    } else {
        gid = group_id(group_file, group)?;
    }
    for extra in &input.spec.process.group_add {
        listed.push(group_id(group_file, extra)?);
    }
    let mut all = vec![gid];
    for gid in listed {
        if !all.contains(&gid) {
            all.push(gid);
        }
    }
    let home = if home.is_empty() { "/" } else { home };
    Ok(Identity { uid, gid, groups: all, home: home.to_owned() })
}

fn group_id(file: &str, text: &str) -> Result<u32, OciError> {
    match groups(file).find(|group| group.name == text || group.gid.to_string() == text) {
        Some(group) => Ok(group.gid),
        None => number(text)?.ok_or_else(|| unknown("group", text, "group")),
    }
}

/// A number in the range that Docker takes; `None` if it is no number.
fn number(text: &str) -> Result<Option<u32>, OciError> {
    match text.parse::<i64>() {
        Err(_) => Ok(None),
        Ok(number) => match u32::try_from(number) {
            Ok(number) if number <= i32::MAX.cast_unsigned() => Ok(Some(number)),
            _ => Err(OciError::Invalid("uids and gids must be in range 0-2147483647".to_owned())),
        },
    }
}

fn unknown(kind: &'static str, name: &str, file: &'static str) -> OciError {
    OciError::NoSuchUser { kind, name: name.to_owned(), file }
}
