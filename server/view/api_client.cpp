#include "server/view/api_client.h"

#include <fmt/format.h>

#include "server/api/call.h"

namespace macadam {

namespace {

HttpResponse response_of(HttpAnswer answer) {
  using Outcome = HttpAnswer::Outcome;
  switch (answer.outcome) {
    case Outcome::answered: break;
    case Outcome::none:
      return error_response(502, fmt::format("the API does not answer ({})", answer.reason));
    case Outcome::late: return error_response(504, "the API took too long to answer");
    case Outcome::large: return error_response(502, "the API's answer is too large");
    case Outcome::too_many: return error_response(503, "too many requests wait for the API");
  }
  return {answer.status, std::move(answer.content_type), std::move(answer.body),
          std::move(answer.fields)};
}

}  // namespace

void ApiClient::ask(HttpQuestion question, Then then) {
  const bool head_alone = question.method == "HEAD";
  client_.ask(std::move(question), [head_alone, then = std::move(then)](HttpAnswer answer) {
    const bool answered = answer.outcome == HttpAnswer::Outcome::answered;
    HttpResponse response = response_of(std::move(answer));
    response.head_alone = answered && head_alone;
    then(std::move(response));
  });
}

}  // namespace macadam
