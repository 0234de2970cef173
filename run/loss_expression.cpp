#include "run/loss_expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace macadam {

namespace {

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// "a + b" -> {"a", "b"}. The sign of an exponent (1e+3) separates nothing.
std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    const bool exponent = i >= 2 && i < text.size() && (text[i - 1] == 'e' || text[i - 1] == 'E') &&
                          (text[i - 2] == '.' || (text[i - 2] >= '0' && text[i - 2] <= '9'));
    if (i < text.size() && (text[i] != separator || exponent)) continue;
    parts.push_back(trimmed(text.substr(begin, i - begin)));
    begin = i + 1;
  }
  return parts;
}

std::optional<float> number(std::string_view text) {
  float value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::vector<LossTerm> parse_loss(std::string_view expression, std::string_view where) {
  constexpr std::string_view kRemedy = "write for example \"ce + dice\" or \"0.5*ce + dice\"";
  std::vector<LossTerm> terms;
  for (const std::string_view term : split(expression, '+')) {
    std::vector<std::string_view> factors = split(term, '*');
    float weight = 1;
    if (factors.size() == 2) {
      if (!number(factors[0])) std::swap(factors[0], factors[1]);
      const std::optional<float> factor = number(factors[0]);
      if (!factor || !std::isfinite(*factor) || *factor <= 0) {
        throw InputError(fmt::format("the loss term {} has no positive weight", quote(term)), where,
                         kRemedy);
      }
      weight = *factor;
      factors.erase(factors.begin());
    }
    if (factors.size() != 1 || factors[0].empty()) {
      throw InputError(fmt::format("{} is not a loss term", quote(term)), where, kRemedy);
    }
    std::vector<std::string> names;
    for (const LossTermInfo& info : loss_term_infos()) names.emplace_back(info.name);
    const auto found = std::ranges::find(names, factors[0]);
    if (found == names.end()) {
      throw InputError(
          fmt::format("unknown loss {}", quote(factors[0])), where,
          fmt::format("did you mean '{}'? (valid: {})", nearest(factors[0], names), joined(names)));
    }
    const LossTerm parsed = loss_term(static_cast<int>(found - names.begin()), weight);
    if (std::ranges::find(terms, parsed.kind, &LossTerm::kind) != terms.end()) {
      throw InputError(fmt::format("the loss '{}' occurs twice", *found), where, kRemedy);
    }
    if (terms.size() == kMaxLossTerms) {
      throw InputError(fmt::format("a loss has at most {} terms", kMaxLossTerms), where, kRemedy);
    }
    terms.push_back(parsed);
  }
  return terms;
}

std::string loss_text(const LossDesc& loss) {
  std::vector<std::string> terms;
  for (const LossTerm& term : loss.used()) {
    const std::string_view name = name_of(term);
    terms.push_back(term.weight == 1 ? std::string(name) : fmt::format("{}*{}", term.weight, name));
  }
  require(!terms.empty(), "a loss has at least one term");
  return joined(terms, " + ");
}

}  // namespace macadam
