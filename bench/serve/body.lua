-- wrk -s body.lua URL -- [FILE [HEADER_BYTES]]: posts the file, as JSON, or with HEADER_BYTES in the binary form of KServe v2; gets
-- the URL where there is no file.
-- Prints a line of JSON with what it saw: latencies are in microseconds.
function init(arguments)
  if not arguments[1] then
    return
  end
  wrk.method = "POST"
  local file = assert(io.open(arguments[1], "rb"))
  wrk.body = file:read("*a")
  file:close()
  wrk.headers["Content-Type"] = "application/json"
  if arguments[2] then
    wrk.headers["Content-Type"] = "application/octet-stream"
    wrk.headers["Inference-Header-Content-Length"] = arguments[2]
  end
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%f,"refused":%d,"broken":%d,"p50":%f,"p99":%f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
