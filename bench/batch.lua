-- wrk script: batches of puts to random keys. Arguments: token, number of keys, value bytes, records a batch.
local token, keys, value, count

function init(args)
  token, keys, count = args[1], tonumber(args[2]), tonumber(args[4])
  value = '{"v":"' .. string.rep("x", tonumber(args[3]) - 8) .. '"}'
  math.randomseed(tonumber(tostring({}):sub(8), 16) or os.time())
end

function request()
  local ops = {}
  for index = 1, count do
    ops[index] = '{"op":"put","key":"k' .. math.random(1, keys) .. '","value":' .. value .. "}"
  end
  local body = '{"ops":[' .. table.concat(ops, ",") .. "]}"
  return wrk.format("POST", "/bench/batch", { ["Authorization"] = "Bearer " .. token }, body)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %.1f %.3f %.3f %d\n", summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
