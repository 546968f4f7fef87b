//! What must be true of where contacts are kept.

use super::Check;
use crate::config::file::File;
use crate::config::file::location::StoreKind;
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
}
