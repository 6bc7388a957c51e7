//! What is known by name: functions, names and who may call them, offers, anchors.
//!
//! A name leads only to a function that is registered; a namespace belongs to whoever registered the first name
//! below it; a name can be handed on, its namespace cannot.

use super::Rejection;
use super::draft::Draft;
use super::record::{
    AnchorRecord, FunctionRecord, GrantKey, GrantRecord, Key, NameRecord, NamespaceRecord,
    OfferRecord, VERSIONS_MAX,
};
use crate::codec::List;
use crate::id::{FunctionId, PublicKey};
use crate::message::FunctionName;
use crate::transaction::{
    Anchor, AnnounceOffer, Grant, RegisterFunction, RegisterName, Revoke, UpdateFunction,
    UpdateName,
};

fn owned_by(sender: PublicKey, owner: PublicKey) -> Result<(), Rejection> {
    if sender == owner { Ok(()) } else { Err(Rejection::NotOwner { owner }) }
}

pub(super) fn register_function(
    draft: &mut Draft<'_>,
    action: &RegisterFunction,
) -> Result<(), Rejection> {
    if draft.get_function(&action.function).is_some() {
        return Err(Rejection::Taken("function"));
    }
    let record = FunctionRecord {
        cgi: action.cgi,
        limits: action.limits,
        kind: action.kind,
        last: draft.id,
        profile: action.profile,
        owner: draft.sender,
        headers: action.headers.clone(),
    };
    draft.put_function(&action.function, record);
    Ok(())
}

pub(super) fn update_function(
    draft: &mut Draft<'_>,
    action: &UpdateFunction,
) -> Result<(), Rejection> {
    let old = draft.get_function(&action.function).ok_or(Rejection::Unknown("function"))?;
    owned_by(draft.sender, old.owner)?;
    let new = FunctionRecord {
        cgi: action.cgi.unwrap_or(old.cgi),
        limits: action.limits.unwrap_or(old.limits),
        profile: action.profile.unwrap_or(old.profile),
        owner: action.owner.unwrap_or(old.owner),
        headers: action.headers.clone().unwrap_or_else(|| old.headers.clone()),
        kind: old.kind,
        last: old.last,
    };
    if new == old {
        return Err(Rejection::Nothing);
    }
    draft.put_function(&action.function, FunctionRecord { last: draft.id, ..new });
    Ok(())
}

/// Marks the namespace of a name as changed by this transaction.
fn touch(draft: &mut Draft<'_>, name: &FunctionName) -> Result<(), Rejection> {
    let namespace = name.namespace();
    let record = draft.get_namespace(&namespace).ok_or(Rejection::Unknown("namespace"))?;
    draft.put_namespace(&namespace, NamespaceRecord { last: draft.id, ..record });
    Ok(())
}

fn registered(draft: &Draft<'_>, function: &FunctionId) -> Result<(), Rejection> {
    draft.get_function(function).map(|_| ()).ok_or(Rejection::Unknown("function"))
}

pub(super) fn register_name(draft: &mut Draft<'_>, action: &RegisterName) -> Result<(), Rejection> {
    registered(draft, &action.function)?;
    let namespace = action.name.namespace();
    let owner = draft.get_namespace(&namespace).map_or(draft.sender, |record| record.owner);
    owned_by(draft.sender, owner)?;
    if draft.get_name(&action.name).is_some() {
        return Err(Rejection::Taken("name"));
    }
    draft.put_namespace(&namespace, NamespaceRecord { last: draft.id, owner });
    let record = NameRecord {
        royalty: action.royalty,
        count: 1,
        owner,
        private: action.private,
        versions: List::try_from(vec![action.function]).unwrap_or_default(),
    };
    draft.put_name(&action.name, record);
    Ok(())
}

pub(super) fn update_name(draft: &mut Draft<'_>, action: &UpdateName) -> Result<(), Rejection> {
    let old = draft.get_name(&action.name).ok_or(Rejection::Unknown("name"))?;
    owned_by(draft.sender, old.owner)?;
    let mut new = NameRecord {
        royalty: action.royalty.unwrap_or(old.royalty),
        owner: action.owner.unwrap_or(old.owner),
        private: action.private.unwrap_or(old.private),
        ..old.clone()
    };
    if let Some(function) = action.function.filter(|function| old.function() != Some(*function)) {
        registered(draft, &function)?;
        let mut versions = new.versions.into_vec();
        versions.push(function);
        let surplus = versions.len().saturating_sub(VERSIONS_MAX);
        versions.drain(..surplus);
        new.versions = List::try_from(versions).unwrap_or_default();
        new.count = old.count.saturating_add(1);
    }
    if new == old {
        return Err(Rejection::Nothing);
    }
    draft.put_name(&action.name, new);
    touch(draft, &action.name)
}

pub(super) fn grant(draft: &mut Draft<'_>, action: &Grant) -> Result<(), Rejection> {
    let name = draft.get_name(&action.name).ok_or(Rejection::Unknown("name"))?;
    owned_by(draft.sender, name.owner)?;
    let key = GrantKey { key: action.key, name: action.name.clone() };
    let record = GrantRecord { methods: action.methods.clone() };
    if draft.get_grant(&key).as_ref() == Some(&record) {
        return Err(Rejection::Nothing);
    }
    draft.put_grant(&key, record);
    touch(draft, &action.name)
}

pub(super) fn revoke(draft: &mut Draft<'_>, action: &Revoke) -> Result<(), Rejection> {
    let name = draft.get_name(&action.name).ok_or(Rejection::Unknown("name"))?;
    owned_by(draft.sender, name.owner)?;
    let key = GrantKey { key: action.key, name: action.name.clone() };
    if draft.get_grant(&key).is_none() {
        return Err(Rejection::Unknown("grant"));
    }
    draft.remove(Key::Grant(key));
    touch(draft, &action.name)
}

pub(super) fn offer(draft: &mut Draft<'_>, action: &AnnounceOffer) -> Result<(), Rejection> {
    if action.until <= draft.place.slot {
        return Err(Rejection::Deadline { found: action.until, least: draft.place.slot });
    }
    let sender = draft.sender;
    let record = OfferRecord {
        last: draft.id,
        price: action.price,
        until: action.until,
        profiles: action.profiles.clone(),
        endpoints: action.endpoints.clone(),
    };
    draft.put_offer(&sender, record);
    Ok(())
}

pub(super) fn anchor(draft: &mut Draft<'_>, action: &Anchor) -> Result<(), Rejection> {
    let sender = draft.sender;
    let before = draft.get_anchor(&sender).map(|record| record.last);
    let span = action.last.0.checked_sub(action.first.0).ok_or(Rejection::AnchorOrder)?;
    let is_after = before.is_none_or(|last| action.first > last);
    // The numbers of an interval may have gaps, for commits without receipts, but not be fewer than the batches.
    if !is_after || u64::from(action.count.get()) > span.saturating_add(1) {
        return Err(Rejection::AnchorOrder);
    }
    let record = AnchorRecord {
        transaction: draft.id,
        last: action.last,
        root: action.root,
        slot: draft.place.slot,
        count: action.count,
        first: action.first,
    };
    draft.put_anchor(&sender, record);
    Ok(())
}
