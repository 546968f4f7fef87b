//! What must be true of where contacts are kept.

use super::Check;
use crate::config::file::File;
use crate::config::file::location::StoreKind;
use crate::config::file::subscribers::Domain;
use crate::location::redis::Options;
use crate::location::redis::OptionsError;
use crate::location::redis::Redis;

impl Check<'_> {
    pub(super) fn location(&mut self, file: &File) {
        let location = &file.location;
        if let Some(path) = location
            .path
            .as_ref()
            .filter(|path| !path.get_ref().is_absolute())
        {
            let help = "begin it with /";
            self.wrong(path.span(), "`path` is not an absolute path", help);
        }
        self.kept_where_it_is_said(file);
        if location.store == StoreKind::Redis && location.redis.is_none() {
            self.wrong(
                location.store_at.clone(),
                "there is no [location.redis]",
                "add the table and its `servers`",
            );
        }
        if let Some(redis) = &location.redis {
            if !location.store_is_said {
                self.idle(redis.at.clone(), "location", "redis");
            }
            let all = redis.options(0);
            for server in &redis.servers {
                let alone = Options {
                    servers: vec![server.get_ref().clone()],
                    ..all.clone()
                };
                match Redis::new(&alone) {
                    Ok(_) | Err(OptionsError::Random(_)) => {}
                    Err(error @ OptionsError::Servers(_)) => {
                        let help = "as in \"redis://:password@10.77.3.1:6379\"";
                        self.wrong(server.span(), error.to_string(), help);
                    }
                    Err(error @ OptionsError::Prefix(_)) => {
                        let help = "without it, \"location\" is taken";
                        return self.wrong(redis.prefix.span(), error.to_string(), help);
                    }
                }
            }
        }
        let located = file.domains.iter().find(|domain| domain.located);
        if let Some(domain) = located.filter(|_| location.store != StoreKind::Redis) {
            self.wrong(
                domain.name.span(),
                "`located`, and no other box can tell where these users are",
                "set store = \"redis\" in [location], which the box shares with their registrar",
            );
        }
    }

    /// Whoever names a place where contacts are kept does not find out after a restart that nothing was kept
    /// there.
    fn kept_where_it_is_said(&mut self, file: &File) {
        let location = &file.location;
        let are_shared = |domain: &Domain| domain.registrar || domain.located;
        if location.store != StoreKind::Redis || file.domains.iter().any(are_shared) {
            return;
        }
        if file.domains.iter().any(|domain| domain.upstream.is_some()) {
            self.wrong(
                location.store_at.clone(),
                "the contacts of an edge are not shared: nothing would be kept there",
                "leave `store` out, and what their registrars have granted is kept in a file of this box over a restart; \
                 where the box calls users whom other boxes register, set located = true in the [[domain]] of those",
            );
        } else {
            self.wrong(
                location.store_at.clone(),
                "no [[domain]] has contacts to keep there",
                "set registrar = true in the [[domain]] whose users register here, located = true in that of users \
                 whom other boxes register, or leave [location] out",
            );
        }
    }
}
