//! What must be true of trunks, routes and session timers.

use std::collections::HashMap;

use toml::Spanned;
use trunkline_dataplane::limits::TARGETS_MAX as ROUTE_TARGETS_MAX;

use super::Check;
use super::is_link_local;
use crate::config::file::Choice;
use crate::config::file::File;
use crate::config::file::Name;
use crate::config::file::Route;
use crate::config::file::TARGETS_MAX;
use crate::config::file::Trunk;

impl Check<'_> {
    pub(super) fn trunks(&mut self, file: &File) {
        self.count(
            "trunk",
            file.trunks.len(),
            file.trunks.get(65_535).map(|trunk| trunk.name.span()),
        );
        self.names("trunk", file.trunks.iter().map(|trunk| &trunk.name));
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
        let mut sources = HashMap::new();
        for trunk in &file.trunks {
            self.known("listen", trunk.listen.as_ref(), &listens);
            self.known("media", trunk.media.as_ref(), &media);
            self.targets(file, trunk);
            self.failover(trunk);
            for source in &trunk.sources {
                let subnet = *source.get_ref();
                if subnet.base() != subnet.address {
                    let help = format!("did you mean {}/{}?", subnet.base(), subnet.prefix_len);
                    self.wrong(
                        source.span(),
                        format!("{} is not a network's first address", subnet.address),
                        help,
                    );
                }
                if is_link_local(subnet.address) {
                    let message = format!("{} is link-local", subnet.address);
                    let help = "a peer on the link must be known by its global address";
                    self.wrong(source.span(), message, help);
                }
                let key = (subnet.base(), subnet.prefix_len);
                let name = &trunk.name.get_ref().0;
                if let Some(other) = sources.insert(key, name) {
                    let message = format!("\"{name}\" cannot have a source that \"{other}\" has");
                    self.wrong(
                        source.span(),
                        message,
                        "a request's source must name one trunk",
                    );
                }
            }
        }
    }

    pub(super) fn routes(&mut self, file: &File) {
        let trunks: Vec<_> = file
            .trunks
            .iter()
            .map(|trunk| trunk.name.get_ref())
            .collect();
        for route in &file.routes {
            if let Some(from) = route.from.as_ref()
                && file.party(from.get_ref()).is_none()
            {
                let domains = file.domains.iter();
                let domains = domains.map(|domain| domain.name.get_ref().0.as_str());
                let trunks = trunks.iter().map(|name| name.0.as_str());
                let all: Vec<_> = trunks.chain(domains).collect();
                self.unknown("[[trunk]] or [[domain]]", from, &all);
            }
            if let Some(prefix) = &route.prefix {
                if prefix.get_ref().is_empty() {
                    self.wrong(
                        prefix.span(),
                        "`prefix` is empty",
                        "leave it out to match every request",
                    );
                }
                if ["sip:", "sips:", "tel:"]
                    .iter()
                    .any(|scheme| prefix.get_ref().starts_with(scheme))
                {
                    self.wrong(
                        prefix.span(),
                        "`prefix` begins with a scheme",
                        "leave the scheme out, as in \"+44\"",
                    );
                }
            }
            self.choices(file, route, &trunks);
        }
    }

    fn targets(&mut self, file: &File, trunk: &Trunk) {
        let listen = file.listens.iter().find(|listen| {
            trunk.listen.as_ref().map(Spanned::get_ref) == Some(listen.name.get_ref())
        });
        let from = listen.and_then(|listen| listen.address.as_ref());
        for target in &trunk.targets {
            let (ip, port) = (target.get_ref().ip(), target.get_ref().port());
            self.endpoint(&target.span(), ip, Some(port));
            if let Some(from) = from {
                let what = "the listen from which we speak to it";
                self.one_family(target.span(), ip, what, from.get_ref().ip());
            }
        }
        self.unique(
            "target",
            trunk
                .targets
                .iter()
                .map(|target| (target.span(), target.get_ref().to_string())),
        );
        if let Some(target) = trunk.targets.get(TARGETS_MAX) {
            let message = format!("{} targets are too many", trunk.targets.len());
            let help =
                format!("up to {TARGETS_MAX} are tried; more belong into a trunk of their own");
            self.wrong(target.span(), message, help);
        }
    }

    fn failover(&mut self, trunk: &Trunk) {
        let Some(codes) = &trunk.failover_codes else {
            return;
        };
        for code in codes.get_ref() {
            let why = match code {
                401 | 407 => "asks for credentials, which the next target would ask for as well",
                487 => "says that the request was cancelled",
                _ => continue,
            };
            let message = format!("{code} {why}");
            let help = "name codes by which a target says that it cannot serve, as 503";
            self.wrong(codes.span(), message, help);
        }
    }

    fn choices(&mut self, file: &File, route: &Route, trunks: &[&Name]) {
        for choice in &route.to {
            let to = &choice.trunk;
            let mut domains = file.domains.iter();
            if domains.any(|domain| domain.name.get_ref().is(&to.get_ref().0)) {
                let message = format!("\"{}\" is a domain", to.get_ref().0);
                let help = "with registrar = true its users are called where they have registered, without a route: name a [[trunk]] with a target";
                self.wrong(to.span(), message, help);
                continue;
            }
            self.known("to", Some(to), trunks);
            let trunk = file
                .trunks
                .iter()
                .find(|trunk| trunk.name.get_ref() == to.get_ref());
            if trunk.is_some_and(|trunk| trunk.targets.is_empty()) {
                let message = format!("trunk \"{}\" has no target", to.get_ref().0);
                let help = "give the trunk target = \"address:port\"";
                self.wrong(to.span(), message, help);
            }
        }
        self.unique(
            "trunk",
            route
                .to
                .iter()
                .map(|choice| (choice.trunk.span(), choice.trunk.get_ref().0.clone())),
        );
        if let Some(choice) = route.to.get(TARGETS_MAX) {
            let message = format!("{} trunks are too many", route.to.len());
            let help = format!("a request goes to {TARGETS_MAX} at most");
            self.wrong(choice.trunk.span(), message, help);
        }
        let targets_of = |choice: &Choice| {
            let mut trunks = file.trunks.iter();
            let trunk = trunks.find(|trunk| trunk.name.get_ref() == choice.trunk.get_ref());
            trunk.map_or(0, |trunk| trunk.targets.len())
        };
        let targets: usize = route.to.iter().map(targets_of).sum();
        if let (true, Some(last)) = (targets > ROUTE_TARGETS_MAX, route.to.last()) {
            let message = format!("the trunks of this route have {targets} targets");
            let help = format!("a request is tried at {ROUTE_TARGETS_MAX} targets at most");
            self.wrong(last.trunk.span(), message, help);
        }
        if let (true, [_, second, ..]) = (route.stateless, &route.to[..]) {
            let message = "a stateless route has one trunk";
            let help = "without state nobody knows that the first one has failed";
            self.wrong(second.trunk.span(), message, help);
        }
    }

    pub(super) fn session(&mut self, file: &File) {
        let (expires, least) = (&file.session_expires, file.session_min.get_ref());
        if (1..*least).contains(expires.get_ref()) {
            let message = format!("sessions cannot expire after {} s", expires.get_ref());
            let help = format!("`min_se` is {least} s; 0 turns the timers of our own off");
            self.wrong(expires.span(), message, help);
        }
    }
}
