-- Writes changes of one user's bindings, as Redis runs a script: nothing comes between.
--
-- KEYS[1]  the user's hash: a field a binding, values as value.rs lays them out
-- ARGV     now (Unix ms), how long what has ended is kept, how many removals are remembered, the channel,
--          our name on it; then a field and its value for each change
-- A removal in the field '*' is of all bindings that were registered before it, known to who wrote it or not.
-- Gives how many of them were older than what is there. What is there already is not published again.
local user = KEYS[1]
local now, slack, removals = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local channel, origin = ARGV[4], ARGV[5]

local function front(value)
    local whole, kind, granted, till, cseq, call = pcall(struct.unpack, '>c1I8I8I4c8', value)
    if whole and (kind == 'P' or kind == 'R') then
        return { kind = kind, granted = granted, till = till, cseq = cseq, call = call }
    end
end

-- RFC 3261 §10.3: within a Call-ID the CSeq says which is later; otherwise the boxes' clocks do.
local function is_older(new, old)
    if old.till <= now then return false end
    -- A box whose clock was far ahead must not keep a binding to itself for good.
    if new.call ~= old.call then return new.granted < old.granted and old.granted <= now + slack end
    if new.cseq > old.cseq then return false end
    if old.kind == 'P' or new.kind == 'R' then return new.cseq < old.cseq end
    -- After a removal there is no binding to compare with: a device may begin its CSeq anew. What
    -- was granted before the removal, as far as two clocks agree, is older all the same.
    return new.granted < old.granted + 2000
end

local function is_there(new, old)
    return old.till > now and new.kind == old.kind and new.call == old.call and new.cseq == old.cseq
end

-- What is there under '*' is a removal, or not of our making.
local function every()
    local there = redis.call('HGET', user, '*')
    local old = there and front(there)
    return old and old.kind == 'R' and old
end

local function end_all_before(new)
    local fields = redis.call('HGETALL', user)
    for i = 1, #fields, 2 do
        local old = front(fields[i + 1])
        if old and old.kind == 'P' and not is_older(new, old) then redis.call('HDEL', user, fields[i]) end
    end
end

local stale, all = 0, every()
for i = 6, #ARGV, 2 do
    local field, value = ARGV[i], ARGV[i + 1]
    local new, there = front(value), redis.call('HGET', user, field)
    local old = there and front(there)
    if old and is_older(new, old) or all and field ~= '*' and is_older(new, all) then
        stale = stale + 1
    elseif not old or not is_there(new, old) then
        redis.call('HSET', user, field, value)
        redis.call('PUBLISH', channel, struct.pack('>c8I2c0I2c0', origin, #user, user, #field, field) .. value)
        if field == '*' and new.kind == 'R' then
            end_all_before(new)
            all = new
        end
    end
end

-- Fields have no lifetime of their own before Redis 7.4: the last to end gives the user's.
local last, removed = 0, {}
local fields = redis.call('HGETALL', user)
for i = 1, #fields, 2 do
    local field, of = fields[i], front(fields[i + 1])
    if not of or of.till + slack <= now then
        redis.call('HDEL', user, field)
    else
        last = math.max(last, of.till)
        if of.kind == 'R' then table.insert(removed, { field = field, granted = of.granted }) end
    end
end
table.sort(removed, function(a, b) return a.granted > b.granted end)
for i = removals + 1, #removed do redis.call('HDEL', user, removed[i].field) end
if last > 0 then redis.call('PEXPIRE', user, string.format('%.0f', last + slack - now)) end
return stale
