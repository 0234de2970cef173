#include "run/loss_expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "base/to_size.h"
#include "run/loss_presets.h"

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

constexpr std::string_view kOverClasses = "/classes";

/// A factor of a term.
struct Weight {
  float value = 1;
  bool over_classes = false;
};

std::optional<Weight> weight(std::string_view text) {
  Weight parsed;
  if (text.ends_with(kOverClasses)) {
    parsed.over_classes = true;
    text.remove_suffix(kOverClasses.size());
  }
  const std::optional<float> value = number(trimmed(text));
  if (!value) return std::nullopt;
  parsed.value = *value;
  return parsed;
}

/// A name with its weight.
struct Named {
  std::string_view name;
  Weight weight;
};

constexpr std::string_view kRemedy = "write for example \"ce + dice\" or \"0.5*ce + dice\"";

Named parse_term(std::string_view term, std::string_view where) {
  std::vector<std::string_view> factors = split(term, '*');
  Named parsed;
  if (factors.size() == 2) {
    if (!weight(factors[0])) std::swap(factors[0], factors[1]);
    const std::optional<Weight> factor = weight(factors[0]);
    if (!factor || !std::isfinite(factor->value) || factor->value <= 0) {
      throw InputError(fmt::format("the loss term {} has no positive weight", quote(term)), where,
                       kRemedy);
    }
    parsed.weight = *factor;
    factors.erase(factors.begin());
  }
  if (factors.size() != 1 || factors[0].empty()) {
    throw InputError(fmt::format("{} is not a loss term", quote(term)), where, kRemedy);
  }
  parsed.name = factors[0];
  return parsed;
}

std::string_view words_for(AbsentClass absent) {
  switch (absent) {
    case AbsentClass::skip: return "leaves absent classes out";
    case AbsentClass::zero: return "counts absent classes as a loss of 0";
    case AbsentClass::suppress: break;
  }
  return "pushes absent classes down";
}

[[noreturn]] void throw_unknown(std::string_view name, std::string_view where) {
  std::vector<std::string> names;
  for (const LossTermInfo& info : loss_term_infos()) names.emplace_back(info.name);
  for (const LossPreset& preset : loss_presets()) {
    if (names.back() != preset.name) names.emplace_back(preset.name);
  }
  throw InputError(
      fmt::format("unknown loss {}", quote(name)), where,
      fmt::format("did you mean '{}'? (valid: {})", nearest(name, names), joined(names)));
}

/// The sum as it is read, from the left.
class Reader {
 public:
  explicit Reader(std::string_view where) : where_(where) {}

  void add(const Named& named) {
    const auto info = std::ranges::find_if(
        loss_term_infos(), [&](const LossTermInfo& one) { return one.name == named.name; });
    if (info != loss_term_infos().end()) {
      add_term(loss_term(named.name, named.weight.value), named.weight.over_classes);
      return;
    }
    bool found = false;
    for (const LossPreset& preset : loss_presets()) {
      if (preset.name != named.name) continue;
      found = true;
      add_term(loss_term(preset.term, named.weight.value * preset.weight, preset.parameters),
               preset.over_classes || named.weight.over_classes);
      note(preset);
    }
    if (!found) throw_unknown(named.name, where_);
  }

  ParsedLoss take() { return std::move(loss_); }

 private:
  void add_term(LossTerm term, bool over_classes) {
    term.over_classes = over_classes;
    if (std::ranges::find(loss_.terms, term.kind, &LossTerm::kind) != loss_.terms.end()) {
      throw InputError(fmt::format("the loss '{}' occurs twice", name_of(term)), where_, kRemedy);
    }
    if (loss_.terms.size() == kMaxLossTerms) {
      throw InputError(fmt::format("a loss has at most {} terms", kMaxLossTerms), where_, kRemedy);
    }
    loss_.terms.push_back(term);
  }

  /// Remembers what the preset has set.
  void note(const LossPreset& preset) {
    for (const LossParameter& parameter : infos_of(preset).parameters) {
      if (parameter.key != nullptr) loss_.given[parameter.key] = preset.name;
    }
    if (!preset.absent) return;
    if (loss_.absent && loss_.absent != preset.absent) {
      throw InputError(
          fmt::format("{} {}, but {} {}", loss_.given[kAbsentKey], words_for(*loss_.absent),
                      preset.name, words_for(*preset.absent)),
          where_, "a loss has one rule for absent classes: take presets of one kind");
    }
    loss_.absent = preset.absent;
    loss_.given[kAbsentKey] = preset.name;
    loss_.given[kReductionKey] = preset.name;  // all are of the batch
  }

  static const LossTermInfo& infos_of(const LossPreset& preset) {
    return loss_term_infos()[to_size(loss_term(preset.term).kind)];
  }

  std::string_view where_;
  ParsedLoss loss_;
};

}  // namespace

LossDesc ParsedLoss::loss() const {
  LossDesc loss = make_loss(terms);
  loss.absent = absent.value_or(AbsentClass::skip);
  return loss;
}

ParsedLoss parse_loss(std::string_view expression, std::string_view where) {
  Reader reader(where);
  for (const std::string_view term : split(expression, '+')) reader.add(parse_term(term, where));
  return reader.take();
}

std::string loss_text(const LossDesc& loss) {
  std::vector<std::string> terms;
  for (const LossTerm& term : loss.used()) {
    const std::string_view name = name_of(term);
    const bool plain = term.weight == 1 && !term.over_classes;
    terms.push_back(
        plain ? std::string(name)
              : fmt::format("{}{}*{}", term.weight, term.over_classes ? kOverClasses : "", name));
  }
  require(!terms.empty(), "a loss has at least one term");
  return joined(terms, " + ");
}

}  // namespace macadam
