//! What each contact of a REGISTER comes to, found out before anything is changed.

use super::Registrar;
use super::binding::Lens;
use super::bindings::Ids;
use super::contacts;
use super::contacts::Contact;
use super::equal::is_same;
use super::order::Mark;
use super::order::Stop;
use super::refusal::Refusal;
use super::register::Register;
use crate::limits::CONTACT_LEN_MAX;
use crate::limits::CONTACTS_MAX;
use crate::limits::ROUTE_SET_LEN_MAX;
use crate::sip::message::Message;
use crate::sip::slab::Id;
use crate::sip::texts::Chain;
use crate::sip::uri::Uri;
use crate::text::Text;
use crate::text::TooLong;
use crate::tick::Tick;

/// What a contact comes to. New texts have been put away.
#[derive(Debug, Default)]
pub(super) enum Act {
    #[default]
    Nothing,
    Add(Chain, Lens),
    Refresh(Id),
    Rewrite(Id, Chain, Lens),
    Remove(Id),
    /// It is to go and is not here.
    RemoveAbsent,
}

impl Act {
    /// Which binding it changes.
    const fn on(&self) -> Option<Id> {
        match self {
            Act::Refresh(id) | Act::Rewrite(id, ..) | Act::Remove(id) => Some(*id),
            Act::Nothing | Act::Add(..) | Act::RemoveAbsent => None,
        }
    }
}

/// What the contacts of a REGISTER come to, in their order.
pub(super) type Plan = [Act; CONTACTS_MAX];

fn count(plan: &Plan, is: impl Fn(&Act) -> bool) -> usize {
    plan.iter().filter(|act| is(act)).count()
}

impl Registrar {
    /// Finds out what each contact comes to (RFC 3261 §10.3 step 7).
    pub(super) fn plan(
        &mut self,
        request: &Register<'_, '_>,
        mark: Mark,
        contacts: &[Contact],
        ids: &Ids,
        now: Tick,
        plan: &mut Plan,
    ) -> Result<(), Stop> {
        let mut room = [0; ROUTE_SET_LEN_MAX];
        let path = contacts::path(request.message, &mut room)?;
        for (at, contact) in contacts.iter().enumerate() {
            let found = self.find(request.message, contact, ids);
            let in_order = self.in_order(request.aor.key, mark, found, now);
            if found.is_none() && contact.expires_s == 0 {
                if let Some(place) = plan.get_mut(at).filter(|_| in_order.is_ok()) {
                    *place = Act::RemoveAbsent;
                }
                continue;
            }
            in_order?;
            // RFC 3261 §19.1.4: two that differ can both be the same as a third.
            if found.is_some() && count(plan, |act| act.on() == found) > 0 {
                return Err(Refusal::Twice.into());
            }
            let act = match found {
                Some(id) if contact.expires_s == 0 => Act::Remove(id),
                _ => self.put(request, contact, path, found)?,
            };
            if let Some(place) = plan.get_mut(at) {
                *place = act;
            }
        }
        self.has_room(plan, ids)
    }

    /// Gives back what a plan has put away that is not carried out.
    pub(super) fn give_up(&mut self, plan: Plan) {
        for act in plan {
            if let Act::Add(text, _) | Act::Rewrite(_, text, _) = act {
                self.bindings.texts.release(text);
            }
        }
    }

    /// The binding that a contact is of: by its flow (RFC 5626 §6), else by its URI. Two flows of an
    /// instance may have one URI: by that none of them is found.
    pub(super) fn find(
        &mut self,
        message: &Message<'_>,
        contact: &Contact,
        ids: &Ids,
    ) -> Option<Id> {
        if let Some((instance, reg_id)) = contact.flow() {
            let instance = self.instance(message.text(instance));
            let is_flow = |&id: &Id| self.bindings.is_flow(id, instance, reg_id);
            return ids.all().find(is_flow);
        }
        let uri = message.text(contact.uri);
        ids.all().find(|&id| self.bindings.has_uri(id, uri))
    }

    /// Puts away what is kept of a contact, unless it is kept already.
    pub(super) fn put(
        &mut self,
        request: &Register<'_, '_>,
        contact: &Contact,
        path: &[u8],
        found: Option<Id>,
    ) -> Result<Act, Refusal> {
        let message = request.message;
        let (user, uri) = (request.aor.user.name(), message.text(contact.uri));
        let room = self.room.get_mut(..user.len() + CONTACT_LEN_MAX);
        let mut text = Text::new(room.unwrap_or_default());
        text.push(user);
        text.push(uri);
        contact.write_params(message.bytes(), &mut text);
        let len = text.finish().map_err(|TooLong| Refusal::TooLong)?;
        let kept = self.room.get(..len).unwrap_or_default();
        let lens = Lens::of(user, uri, kept, path).ok_or(Refusal::TooLong)?;
        if let Some(id) = found
            && self.bindings.has_texts(id, lens, kept, path)
        {
            return Ok(Act::Refresh(id));
        }
        Uri::read(message.bytes(), contact.uri).map_err(|_| Refusal::Unreadable)?;
        if is_same(uri, message.text(message.to().uri)) {
            return Err(Refusal::Loops);
        }
        let text = self
            .bindings
            .texts
            .put(&[kept, path])
            .ok_or(Refusal::Full)?;
        Ok(match found {
            Some(id) => Act::Rewrite(id, text, lens),
            None => Act::Add(text, lens),
        })
    }

    fn has_room(&self, plan: &Plan, ids: &Ids) -> Result<(), Stop> {
        let added = count(plan, |act| matches!(act, Act::Add(..)));
        if added == 0 {
            return Ok(());
        }
        let removed = count(plan, |act| matches!(act, Act::Remove(_)));
        let left_alone = ids.count() - count(plan, |act| act.on().is_some());
        let surplus = self.surplus(plan, ids);
        if surplus > 0 && (!self.rules.replaces_oldest || surplus > left_alone) {
            return Err(Refusal::TooManyContacts.into());
        }
        if added > self.bindings.free_count() + removed + surplus {
            return Err(Refusal::Full.into());
        }
        Ok(())
    }

    /// How many bindings there would be beyond those that there may be.
    pub(super) fn surplus(&self, plan: &Plan, ids: &Ids) -> usize {
        let added = count(plan, |act| matches!(act, Act::Add(..)));
        let removed = count(plan, |act| matches!(act, Act::Remove(_)));
        let most = usize::from(self.rules.contacts_max).min(CONTACTS_MAX);
        match added {
            0 => 0,
            _ => (ids.count() + added).saturating_sub(most + removed),
        }
    }

    /// The binding that gives way: of those that are there, and that a plan leaves alone, the one that
    /// was registered longest ago.
    pub(super) fn oldest(&self, plan: &Plan, ids: &Ids) -> Option<Id> {
        let is_left_alone = |id: &Id| plan.iter().all(|act| act.on() != Some(*id));
        let there = ids.all().filter(is_left_alone).filter_map(|id| {
            let binding = self.bindings.slab.get(id)?;
            Some((binding.taken, id))
        });
        there.min_by_key(|(taken, _)| *taken).map(|(_, id)| id)
    }
}
