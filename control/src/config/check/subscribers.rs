//! What must be true of domains and of what is known of their users.

use std::ops::Range;

use toml::Spanned;
use trunkline_dataplane::sip::registrar::Rules;

use super::Check;
use crate::config::file::File;
use crate::config::file::Trunk;
use crate::config::file::remote::Elsewhere;
use crate::config::file::subscribers::Domain;
use crate::config::file::subscribers::STORES;
use crate::config::file::subscribers::StoreKind;
use crate::config::file::subscribers::Subscribers;
use crate::subscribers::remote::Protocol;
use crate::subscribers::remote::Remote;

/// Milliseconds after which a client has given a request up that is no INVITE (RFC 3261 §17.1.2.2:
/// Timer F).
const TIMER_F_MS: u64 = 32_000;

/// A [`trunkline_dataplane::ids::DomainIndex`] numbers so many.
const DOMAINS_MAX: usize = 256;

impl Check<'_> {
    pub(super) fn domains(&mut self, file: &File) {
        self.count(
            "domain",
            file.domains.len(),
            file.domains
                .get(DOMAINS_MAX)
                .map(|domain| domain.name.span()),
        );
        self.unique(
            "domain",
            file.domains
                .iter()
                .map(|domain| (domain.name.span(), domain.name.get_ref().0.clone())),
        );
        let listens: Vec<_> = file
            .listens
            .iter()
            .map(|listen| listen.name.get_ref())
            .collect();
        let media: Vec<_> = file
            .media
            .iter()
            .map(|range| range.name.get_ref())
            .collect();
        for domain in &file.domains {
            self.known("listen", domain.listen.as_ref(), &listens);
            self.known("media", domain.media.as_ref(), &media);
            // RFC 8760 §2.3: each challenge of a realm has another algorithm.
            self.unique(
                "algorithm",
                domain.algorithms.iter().map(|algorithm| {
                    let name = algorithm.get_ref().0.name().to_owned();
                    (algorithm.span(), name)
                }),
            );
            self.apart_from_trunks(file, domain);
            self.with_state(file, domain);
            self.upstream(file, domain);
        }
    }

    /// Its registrar can be reached, can reach its users, and asks for their passwords itself.
    fn upstream(&mut self, file: &File, domain: &Domain) {
        let Some(name) = &domain.upstream else {
            for (key, at) in &domain.of_edge {
                self.wrong(
                    at.clone(),
                    format!("`{key}` of a domain whose registrar is not elsewhere"),
                    "leave it out, or set `registrar` to the name of the [[trunk]] that is its registrar",
                );
            }
            return;
        };
        let trunks: Vec<_> = file.trunks.iter().map(|it| it.name.get_ref()).collect();
        if !trunks.contains(&name.get_ref()) {
            let all: Vec<_> = trunks.iter().map(|name| name.0.as_str()).collect();
            return self.unknown("[[trunk]]", name, &all);
        }
        let is = |trunk: &&Trunk| trunk.name.get_ref() == name.get_ref();
        let Some(trunk) = file.trunks.iter().find(is) else {
            return;
        };
        if trunk.targets.is_empty() {
            self.wrong(
                name.span(),
                format!("trunk \"{}\" has no target", name.get_ref().0),
                "a registrar is sent REGISTERs: give the trunk target = \"address:port\"",
            );
        }
        let listen = trunk.listen.as_ref().map(Spanned::get_ref);
        let mut listens = file.listens.iter();
        let listen = listens.find(|it| Some(it.name.get_ref()) == listen);
        if listen.is_some_and(|listen| listen.stateless) {
            self.wrong(
                name.span(),
                format!("the listen of trunk \"{}\" is stateless", name.get_ref().0),
                "what the registrar sends to phones has state: give the trunk another listen",
            );
        }
        if let Some(algorithm) = domain.algorithms.first() {
            self.wrong(
                algorithm.span(),
                "`algorithms` of a domain whose registrar is elsewhere",
                "its registrar asks for passwords, the box does not: leave `algorithms` out",
            );
        }
    }

    /// A name means one party: routes, counts and calls are told by it.
    fn apart_from_trunks(&mut self, file: &File, domain: &Domain) {
        let host = domain.name.get_ref();
        let mut trunks = file.trunks.iter();
        if trunks.any(|trunk| host.is(&trunk.name.get_ref().0)) {
            self.wrong(
                domain.name.span(),
                format!("a [[trunk]] is called \"{}\" as well", host.0),
                "a name means a trunk or a domain: call the trunk something else",
            );
        }
    }

    /// Whoever waits for the store has a transaction.
    fn with_state(&mut self, file: &File, domain: &Domain) {
        let Some(name) = &domain.listen else { return };
        let is = |listen: &&crate::config::file::Listen| listen.name.get_ref() == name.get_ref();
        if file
            .listens
            .iter()
            .find(is)
            .is_some_and(|listen| listen.stateless)
        {
            self.wrong(
                name.span(),
                format!("the listen \"{}\" is stateless", name.get_ref().0),
                "who authenticates waits for the store, and nobody can wait without state",
            );
        }
    }

    pub(super) fn authentication(&mut self, file: &File) {
        let authentication = file.authentication.get_ref();
        let latest_ms = authentication.deadline_ms + authentication.failure_grid_ms;
        if latest_ms >= TIMER_F_MS {
            let message = format!("an answer could come after {latest_ms} ms");
            let help = format!(
                "clients give up after {TIMER_F_MS} ms: `deadline_ms` and `failure_grid_ms` together must be less"
            );
            self.wrong(file.authentication.span(), message, help);
        }
    }

    pub(super) fn registrar(&mut self, file: &File) {
        let rules = file.registrar.get_ref();
        let has_registrar = |domain: &Domain| domain.registrar || domain.upstream.is_some();
        // What is said to be as it is anyway misleads nobody.
        if *rules != Rules::default() && !file.domains.iter().any(has_registrar) {
            self.wrong(
                file.registrar_at.clone(),
                "[registrar], and no [[domain]] has a registrar",
                "nobody can register: set registrar = true in the [[domain]] whose users are to, or leave [registrar] out",
            );
        }
        if rules.min_s > rules.max_s {
            let message = format!(
                "`min_expires` is {} s, `max_expires` {} s",
                rules.min_s, rules.max_s
            );
            let help = "no time fits between them: raise `max_expires` or lower `min_expires`";
            self.wrong(file.registrar.span(), message, help);
        } else if !(rules.min_s..=rules.max_s).contains(&rules.default_s) {
            let message = format!("contacts cannot expire after {} s", rules.default_s);
            let help = format!(
                "`default_expires` must be from `min_expires`, {} s, to `max_expires`, {} s",
                rules.min_s, rules.max_s
            );
            self.wrong(file.registrar.span(), message, help);
        }
    }

    pub(super) fn subscribers(&mut self, file: &File) {
        let relative = |path: &&Spanned<std::path::PathBuf>| !path.get_ref().is_absolute();
        if let Some(path) = file.subscribers.path.as_ref().filter(relative) {
            self.wrong(
                path.span(),
                "`path` is not an absolute path",
                "begin it with /",
            );
        }
        let Subscribers {
            postgres,
            redis,
            http,
            store,
            ..
        } = &file.subscribers;
        let store = *store;
        let tables = [("postgres", postgres), ("redis", redis), ("http", http)];
        for (name, table) in tables {
            let Some(elsewhere) = table else { continue };
            if !file.subscribers.store_is_said {
                self.idle(elsewhere.at.clone(), "subscribers", name);
            }
            self.elsewhere(elsewhere);
        }
        if store != StoreKind::Sqlite && file.subscribers.elsewhere().is_none() {
            let is = |&&(_, kind): &&(&str, StoreKind)| kind == store;
            let name = STORES.iter().find(is).map_or("", |(name, _)| name);
            self.wrong(
                file.subscribers.store_at.clone(),
                format!("there is no [subscribers.{name}]"),
                "add the table and its `servers`",
            );
        }
    }

    /// The table of a store stands there, and no word of which store is asked: whoever wrote it believes that
    /// it is.
    pub(super) fn idle(&mut self, at: Range<usize>, section: &str, store: &str) {
        self.wrong(
            at,
            format!("[{section}.{store}], and [{section}] does not say which `store` is asked"),
            format!(
                "set store = \"{store}\" in [{section}]; or \"sqlite\", if the table is for later"
            ),
        );
    }

    /// What the stores themselves make of it.
    fn elsewhere(&mut self, elsewhere: &Elsewhere) {
        let remote = elsewhere.remote();
        for server in &elsewhere.servers {
            let alone = Remote {
                servers: vec![server.get_ref().clone()],
                ..remote.clone()
            };
            if let Err(error) = alone.open() {
                let help = match remote.protocol {
                    Protocol::Postgres(_) => {
                        "as in \"postgres://user:password@10.77.3.1:5432/database\""
                    }
                    Protocol::Redis(_) => "as in \"redis://user:password@10.77.3.1:6379\"",
                    Protocol::Http(_) => {
                        "as in \"http://10.77.3.1:8080/subscribers/{domain}/{user}\""
                    }
                };
                self.wrong(
                    server.span(),
                    format!("this server cannot be asked: {error}"),
                    help,
                );
            } else if let (Err(error), Some(channel)) = (alone.sources(), &elsewhere.channel) {
                let help = "name a channel, or \"\" for none";
                return self.wrong(channel.span(), error, help);
            }
        }
    }
}
