"""The Lua scripts of the Redis decision store. Each one runs on the keys of one tenant, which share a hash tag.

| key | type | holds |
| --- | --- | --- |
| 1 to 3 | sorted set | the records of one stage: `place|verdict|code|plan|request id|size` |
| 4 | hash | by request id: `place|vmId|subscriptionId|JSON` |
| 5, 6 | sorted set | `vmId|place`, `subscriptionId|place`, each with the digit of the stage and `|verdict|code|plan|` |
| 7 | hash | the last sequence number, and the bytes of each stage |
| 8 | string | the first day with counts |

All texts are encoded, so none has a separator in it. A place is a time and a sequence number in hexadecimal digits of
fixed length. All scores are 0, so the members are in the order of their bytes: that of places, the oldest first.

Each pattern is anchored: the time of another one can grow with the square of a text's length, and callers write texts.
"""

#: The digits of a place: those of its time in microseconds since 1970, and those of its sequence number.
TIME_DIGITS = 14
SEQUENCE_DIGITS = 10

#: All scripts begin with this.
_COMMON = """
local stages, requests, indexes, state = {KEYS[1], KEYS[2], KEYS[3]}, KEYS[4], {KEYS[5], KEYS[6]}, KEYS[7]
local known = redis.call('HMGET', state, 'sequence', 'bytes1', 'bytes2', 'bytes3')
local sequence = tonumber(known[1] or 0)
local bytes = {tonumber(known[2] or 0), tonumber(known[3] or 0), tonumber(known[4] or 0)}

-- These reads fail if a key has another type, before the first write.
local kept = 0
for stage = 1, 3 do kept = kept + redis.call('ZCARD', stages[stage]) end
local is_whole = kept == redis.call('HLEN', requests) and (kept == 0 or known[1])
redis.call('ZCARD', indexes[1])
redis.call('ZCARD', indexes[2])

-- A server without memory refuses this command, and not those that delete. So it comes before and after them.
local function save()
    redis.call('HSET', state, 'sequence', string.format('%.0f', sequence), 'bytes1', string.format('%.0f', bytes[1]),
        'bytes2', string.format('%.0f', bytes[2]), 'bytes3', string.format('%.0f', bytes[3]))
end

local function member_at(stage, place)
    return redis.call('ZRANGE', stages[stage], '[' .. place .. '|', '(' .. place .. '}', 'BYLEX', 'LIMIT', 0, 1)[1]
end

-- Return the stage of an index entry of `value`, and the member of that stage or nil.
local function indexed_by(value, entry)
    local place, stage = string.match(string.sub(entry, #value + 2), '^(%x+)(%d)|')
    stage = tonumber(stage)
    return stage, member_at(stage, place)
end

local function remove(stage, member)
    local place, compared, request, size = string.match(member, '^(%x+)(|.*|)([^|]*)|(%d+)$')
    local record = redis.call('HGET', requests, request) or ''
    for number, value in ipairs({string.match(record, '^[^|]*|([^|]*)|([^|]*)|')}) do
        if value ~= '' then redis.call('ZREM', indexes[number], value .. '|' .. place .. stage .. compared) end
    end
    redis.call('HDEL', requests, request)
    redis.call('ZREM', stages[stage], member)
    bytes[stage] = bytes[stage] - tonumber(size)
    return request
end
"""

#: Keys from 9 on are the counts and the sets of values, as the arguments number them. The answer has three numbers:
#: whether anything was kept, how many of these records were deleted at once because the server is short of memory, and
#: whether there is more to delete.
APPEND = (
    _COMMON
    + """
local oldest, keep, entry_bytes = ARGV[1], ARGV[2], tonumber(ARGV[3])
local limits = {tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])}
local budget, few, scarce = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local most_values, keep_counts = tonumber(ARGV[10]), ARGV[11]
local records, groups, header = tonumber(ARGV[12]), tonumber(ARGV[13]), 13

-- A record is one argument, and so are the VMs of a count: each argument costs time on both sides.
-- If the user may not call INFO, or there is no maxmemory, only the other limits apply.
local used = 0
local info = redis.pcall('INFO', 'memory')
if type(info) == 'string' then
    local most = tonumber(string.match(info, 'maxmemory:(%d+)') or 0)
    if most > 0 then used = tonumber(string.match(info, 'used_memory:(%d+)') or 0) / most end
end
local is_short = used >= few
if used >= scarce or (is_short and records > 0 and bytes[1] + bytes[2] + bytes[3] == 0) then return {0, 0, 0} end

local first_day = redis.call('GET', KEYS[8])
if not is_whole then
    -- A key was lost. Records without an index could neither be found nor be deleted.
    for number = 1, 7 do redis.call('UNLINK', KEYS[number]) end
    sequence, bytes = 0, {0, 0, 0}
end
local before = {bytes[1], bytes[2], bytes[3]}
save()

local at = header + records
for group = 1, groups do
    local day, count, set, value, others, expires = unpack(ARGV, at + 1, at + 6)
    local vms = {}
    for vm in string.gmatch(ARGV[at + 7], '[^|]+') do vms[#vms + 1] = vm end
    count = KEYS[tonumber(count)]
    if set ~= '0' then
        set = KEYS[tonumber(set)]
        if redis.call('SISMEMBER', set, value) == 0 and redis.call('SCARD', set) >= most_values then
            count, value = KEYS[tonumber(others)], '+'
        end
        redis.call('SADD', set, value)
        redis.call('PEXPIREAT', set, expires)
    end
    redis.call('PFADD', count, unpack(vms))
    redis.call('PEXPIREAT', count, expires)
    if not first_day or day < first_day then first_day = day end
    at = at + 7
end
if groups > 0 then redis.call('SET', KEYS[8], first_day, 'PX', keep_counts) end

-- One command adds the members of all records to a key: each call of a command takes more time than its member.
local added, hashes, members, entries = {}, {}, {{}, {}, {}}, {{}, {}}
local function put(list, first, second)
    list[#list + 1] = first
    list[#list + 1] = second
end
local fields = '^(%d)|' .. string.rep('([^|]*)|', 7) .. '(.*)$'
for number = 1, records do
    local argument = ARGV[header + number]
    local stage, time, verdict, code, plan, vm, subscription, request, line = string.match(argument, fields)
    stage = tonumber(stage)
    if not added[request] and redis.call('HEXISTS', requests, request) == 0 then
        sequence = sequence + 1
        local place = time .. string.format('%010x', sequence)
        local size = #line + 2 * (#request + #vm + #subscription)
            + 3 * (#verdict + #code + #plan) + entry_bytes
        local compared = '|' .. table.concat({verdict, code, plan}, '|') .. '|'
        local entry = '|' .. place .. stage .. compared
        put(members[stage], 0, place .. compared .. request .. '|' .. string.format('%.0f', size))
        put(hashes, request, table.concat({place, vm, subscription, line}, '|'))
        if vm ~= '' then put(entries[1], 0, vm .. entry) end
        if subscription ~= '' then put(entries[2], 0, subscription .. entry) end
        bytes[stage] = bytes[stage] + size
        added[request] = true
    end
end
local function write(command, key, list)
    if #list > 0 then redis.call(command, key, unpack(list)) end
end
write('HSET', requests, hashes)
for stage = 1, 3 do write('ZADD', stages[stage], members[stage]) end
for number = 1, 2 do write('ZADD', indexes[number], entries[number]) end

-- If the server is short of memory, the total must not grow: new records replace those of their stage. Only fresh ones
-- that need more room replace others.
if is_short then
    local need, room = math.max(0, bytes[3] - 2 * before[3]), before[3]
    for stage = 1, 2 do
        local cut = math.min(before[stage], need)
        limits[stage] = math.min(limits[stage], before[stage] - cut)
        need, room = need - cut, room + cut
    end
    limits[3] = math.min(limits[3], room)
end
local dropped, more = 0, 0
local function trim(stage, members)
    for _, member in ipairs(members) do
        if budget == 0 then
            more = 1
            return
        end
        if added[remove(stage, member)] and is_short then dropped = dropped + 1 end
        budget = budget - 1
    end
end
for stage = 1, 3 do
    trim(stage, redis.call('ZRANGE', stages[stage], '-', '(' .. oldest, 'BYLEX', 'LIMIT', 0, budget + 1))
    while bytes[stage] > limits[stage] and more == 0 do
        local excess = bytes[stage] - limits[stage]
        local members, enough = redis.call('ZRANGE', stages[stage], 0, 15), {}
        for number, member in ipairs(members) do
            if excess <= 0 then break end
            enough[number] = member
            excess = excess - tonumber(string.match(member, '^.*|(%d+)$'))
        end
        trim(stage, enough)
        if #members == 0 then bytes[stage] = 0 end
    end
end
save()
for number = 1, 7 do redis.call('PEXPIRE', KEYS[number], keep) end
return {1, dropped, more}
"""
)

#: `high` is exclusive, `low` inclusive. `both` is a subscription that records of the VM must have, or empty.
#: The answer: whether older records are left, how many records it looked at, the place of the last one, and a list of
#: places and JSON texts.
SCAN = (
    _COMMON
    + """
local index, value, high, low = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local verdict, code, plan, both = unpack(ARGV, 5, 8)
local limit, most, chunk, place_length = tonumber(ARGV[9]), tonumber(ARGV[10]), 128, #high

local function recorded(member)
    local request = string.match(member, '^%x+|[^|]*|[^|]*|[^|]*|([^|]*)')
    return string.match(redis.call('HGET', requests, request) or '', '^[^|]*|[^|]*|[^|]*|(.*)$')
end

-- Return a function that returns the next older member of a sorted set.
local function backwards(key, prefix)
    local stop, start, members, number = '(' .. prefix .. high, '[' .. prefix .. low, {}, 1
    return function()
        if not members[number] then
            if not stop then return nil end
            members, number = redis.call('ZRANGE', key, stop, start, 'BYLEX', 'REV', 'LIMIT', 0, chunk), 1
            stop = #members == chunk and '(' .. members[chunk]
        end
        number = number + 1
        return members[number - 1]
    end
end

-- A pattern costs less than to take each member apart. All members have the compared texts after their first separator.
local function text(filter)
    return filter == '' and '[^|]*' or string.gsub(string.sub(filter, 2), '%W', '%%%0')
end
local selected = '^%x+|' .. text(verdict) .. '|' .. text(code) .. '|' .. text(plan) .. '|'

local next_member, line_of
if index > 0 then
    local next_entry = backwards(indexes[index], value .. '|')
    next_member = function()
        local entry = next_entry()
        return entry and string.sub(entry, #value + 2)
    end
    line_of = function(member)
        if not string.find(member, selected) then return nil end
        -- The entry in the other index differs in its first text only.
        if both ~= '' and not redis.call('ZSCORE', indexes[2], both .. '|' .. member) then return nil end
        local _, found = indexed_by('', '|' .. member)
        return found and recorded(found)
    end
else
    local readers, heads = {}, {}
    for stage = 1, 3 do
        readers[stage] = backwards(stages[stage], '')
        heads[stage] = readers[stage]()
    end
    next_member = function()
        local newest
        for stage = 1, 3 do
            if heads[stage] and (not newest or heads[stage] > heads[newest]) then newest = stage end
        end
        if not newest then return nil end
        local member = heads[newest]
        heads[newest] = readers[newest]()
        return member
    end
    line_of = function(member)
        return string.find(member, selected) and recorded(member)
    end
end

local found, scanned, member, last = {}, 0, next_member(), ''
while member and scanned < most and #found < limit * 2 do
    local line = line_of(member)
    if line then
        found[#found + 1] = string.sub(member, 1, place_length)
        found[#found + 1] = line
    end
    scanned, last, member = scanned + 1, member, next_member()
end
return {member and 1 or 0, scanned, string.sub(last, 1, place_length), found}
"""
)

#: The answer: how many index entries it looked at, and how many records it deleted.
ERASE = (
    _COMMON
    + """
local index, value, most = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local start, stop, erased = '[' .. value .. '|', '(' .. value .. '}', 0
local indexed = redis.call('ZRANGE', indexes[index], start, stop, 'BYLEX', 'LIMIT', 0, most)
if #indexed == 0 then return {0, 0} end
save()
for _, entry in ipairs(indexed) do
    local stage, member = indexed_by(value, entry)
    if member then
        remove(stage, member)
        erased = erased + 1
    end
    redis.call('ZREM', indexes[index], entry)
end
save()
return {#indexed, erased}
"""
)

#: The members of each set.
MEMBERS = """
local found = {}
for number, key in ipairs(KEYS) do found[number] = redis.call('SMEMBERS', key) end
return found
"""

#: One count for each argument: of so many keys that follow each other.
COUNTS = """
local found, first = {}, 1
for number, length in ipairs(ARGV) do
    found[number] = redis.call('PFCOUNT', unpack(KEYS, first, first + length - 1))
    first = first + length
end
return found
"""

#: The score of a tenant is the time of its last record in seconds.
REGISTER = """
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""
