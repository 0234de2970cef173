#include "server/view/view_config.h"

namespace macadam {

namespace {

constexpr double kDay = 86'400;

}  // namespace

void describe(Fields& fields, ViewConfig& config) {
  fields.section("What is shown");
  fields.text({"api", "The API: http://HOST:PORT, https://HOST, or the path of its Unix socket"},
              config.api);
  fields.path({"token_file", "A file with the API's token; browsers never see it"},
              config.token_file);
  fields.path({"runs", "A folder of training runs whose curves, scores and samples are shown"},
              config.runs);

  fields.section("Where");
  fields.text({"host", "The address to listen at; 0.0.0.0 is every one of this machine"},
              config.host);
  fields.integer({"port", "0: one that is free"}, config.port, 0, 65'535);
  fields.strings({"names",
                  "Names that browsers may call this machine by, besides localhost and its "
                  "addresses; \"*\": any, where a proxy in front checks them"},
                 config.names);
  fields.path({"log", "A file that the log is added to; without it, standard error"}, config.log);

  fields.section("Limits");
  fields.integer({"max_body_mb", "Of a photo that is sent on to the API: 413"}, config.max_body_mb,
                 1, 4096);
  fields.integer({"connections", "At once; more: 503"}, config.connections, 1, 1 << 20);
  fields.number({"connect_seconds", "For the API to take a connection: 502"},
                config.connect_seconds, 0.01, kDay);
  fields.number({"answer_seconds", "For the API to answer: 504"}, config.answer_seconds, 0.01,
                kDay);
  fields.number({"drain_seconds", "After SIGTERM, for requests that are not answered"},
                config.drain_seconds, 0, kDay);
}

}  // namespace macadam
