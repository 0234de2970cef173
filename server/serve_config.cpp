#include "server/serve_config.h"

namespace macadam {

namespace {

constexpr double kDay = 86'400;

}  // namespace

void describe(Fields& fields, ServeConfig& config) {
  fields.section("What is served");
  fields.strings({"models",
                  "Model files or folders of runs, each with [NAME[:VERSION]=] before it; "
                  "those of the command line replace them"},
                 config.models);
  fields.path({"gallery", "A data set whose photos are shown"}, config.gallery);

  fields.section("Where");
  fields.text({"host", "The address to listen at; 0.0.0.0 is every one of this machine"},
              config.host);
  fields.integer({"port", "0: one that is free"}, config.port, 0, 65'535);
  fields.path({"unix_socket", "Listen at this path instead of an address"}, config.unix_socket);
  fields.path({"token_file",
               "A file with the token that clients send as \"Authorization: Bearer "
               "TOKEN\"; without it everybody may call"},
              config.token_file);
  fields.path({"log", "A file that the log is added to; without it, standard error"}, config.log);

  fields.section("The network");
  fields.text({"device", "auto, cpu, cuda or cuda:N"}, config.device);
  fields.text({"precision", "auto, fp32, bf16 or fp16"}, config.precision);
  fields.integer({"replicas", "Batches that run at once"}, config.replicas, 1, 64);
  fields.integer({"max_batch", "Photos that the network sees together, at most"}, config.max_batch,
                 1, 64);
  fields.number({"max_delay_ms", "How long a photo waits for others to make a batch"},
                config.max_delay_ms, 0, 1000);
  fields.integer({"threads", "Cores for the network and for decoding; 0: all"}, config.threads, 0,
                 1024);
  fields.integer({"memory_limit_mb", "Of a model, on its device; 0: none"}, config.memory_limit_mb,
                 0, 1 << 20);

  fields.section("Limits");
  fields.integer(
      {"queue", "Requests for predictions that are accepted and not answered; more: 503"},
      config.queue, 1, 100'000);
  fields.integer({"deadline_ms",
                  "A photo that waits longer for the network is not predicted, and one in windows "
                  "is given up then: 503"},
                 config.deadline_ms, 1, 3'600'000);
  fields.integer({"max_body_mb", "Of a request, also when it is unpacked: 413"}, config.max_body_mb,
                 1, 4096);
  fields.number({"max_megapixels", "Of a photo: 400"}, config.max_megapixels, 0.01, 1024);
  fields.integer({"max_windows", "Of the network's size, of a photo with tile=1: 413"},
                 config.max_windows, 1, 1 << 20);
  fields.integer({"work_memory_mb",
                  "Of photos and masks of all requests, from decoding to the "
                  "answer; more: 503, but for one that comes alone"},
                 config.work_memory_mb, 1, 1 << 20);
  fields.integer({"answer_memory_mb",
                  "Of answers that clients have not taken, those above 64 KiB; more: 503, but for "
                  "one that comes alone"},
                 config.answer_memory_mb, 1, 1 << 20);
  fields.integer({"connections", "At once; more: 503"}, config.connections, 1, 1 << 20);
  fields.integer({"io_threads", "For all connections together"}, config.io_threads, 1, 64);
  fields.number({"idle_seconds", "A connection without a request is closed then"},
                config.idle_seconds, 0.01, kDay);
  fields.number({"request_seconds", "From a request's first byte to its last: 408"},
                config.request_seconds, 0.01, kDay);
  fields.number({"response_seconds", "For a client to take its answer"}, config.response_seconds,
                0.01, kDay);

  fields.section("The end");
  fields.number({"grace_seconds", "After SIGTERM the server is not ready, but goes on so long"},
                config.grace_seconds, 0, kDay);
  fields.number({"drain_seconds", "Then requests that are not answered have so long"},
                config.drain_seconds, 0, kDay);
}

}  // namespace macadam
