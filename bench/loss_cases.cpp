#include "bench/loss_cases.h"

#include <fmt/format.h>

#include "bench/stored_channels.h"

namespace macadam::bench {

namespace {

/// An image of so many channels.
Shape image(const Extents& extents, int channels) {
  return {extents.batch, extents.height, extents.width, channels};
}

void add_losses(const Extents& extents, DType dtype, std::vector<OpCase>& cases) {
  for (const Channels classes : stored_channels({8, 11, 19}, kPaddedScores, dtype)) {
    for (const bool dice : {false, true}) {
      cases.push_back(
          {fmt::format("loss/classes:{}{}/dice:{:d}", classes.count, classes.suffix(), dice), false,
           [=, shape = image(extents, classes.count), mask = image(extents, 1)](Workbench& w) {
             const Tensor logits = w.padded(shape, dtype, classes.stored);
             const Tensor gradient = w.padded(shape, dtype, classes.stored);
             const Tensor labels = w.integers(mask, classes.count);
             const LossDesc desc = dice ? make_loss({loss_term("ce"), loss_term("dice")})
                                        : make_loss({loss_term("ce")});
             std::byte* workspace = w.memory(w.ops().loss->workspace_bytes(desc, shape));
             auto* values = reinterpret_cast<LossValues*>(w.memory(sizeof(LossValues)));
             // Dice's gradient needs the sums over the batch, cross-entropy's the number of pixels.
             return Call{[=, &ops = w.ops()] {
                           ops.loss->run(desc, logits, labels, {}, gradient, values, workspace);
                         },
                         (dice ? 2 : 1) * logits.whole().bytes() + 2 * labels.bytes() +
                             gradient.whole().bytes()};
           }});
    }
  }
}

/// Each term alone.
void add_terms(const Extents& extents, DType dtype, std::vector<OpCase>& cases) {
  constexpr int kClasses = 19;
  for (const LossTermInfo& info : loss_term_infos()) {
    cases.push_back({fmt::format("loss/classes:{}/term:{}", kClasses, info.name), false,
                     [=, shape = image(extents, kClasses), mask = image(extents, 1),
                      desc = make_loss({loss_term(info.name)})](Workbench& w) {
                       const Tensor logits = w.padded(shape, dtype, kClasses);
                       const Tensor gradient = w.padded(shape, dtype, kClasses);
                       const Tensor labels = w.integers(mask, kClasses);
                       std::byte* workspace = w.memory(w.ops().loss->workspace_bytes(desc, shape));
                       auto* values = reinterpret_cast<LossValues*>(w.memory(sizeof(LossValues)));
                       const bool two_passes = LossSums(desc, kClasses).has_class_sums();
                       return Call{[=, &ops = w.ops()] {
                                     ops.loss->run(desc, logits, labels, {}, gradient, values,
                                                   workspace);
                                   },
                                   (two_passes ? 2 : 1) * logits.bytes() + 2 * labels.bytes() +
                                       gradient.bytes()};
                     }});
  }
}

void add_distillation(const Extents& extents, DType dtype, std::vector<OpCase>& cases) {
  for (const Channels classes : stored_channels({8, 19}, kPaddedScores, dtype)) {
    cases.push_back({fmt::format("distill/classes:{}{}", classes.count, classes.suffix()), false,
                     [=, shape = image(extents, classes.count)](Workbench& w) {
                       const Tensor student = w.padded(shape, dtype, classes.stored);
                       const Tensor teacher = w.padded(shape, dtype, classes.stored);
                       const Tensor gradient = w.padded(shape, dtype, classes.stored);
                       std::byte* workspace = w.memory(w.ops().distill->workspace_bytes(shape));
                       auto* value = reinterpret_cast<float*>(w.memory(sizeof(float)));
                       // Both networks' scores for the sums, again for the gradient, which is
                       // added.
                       return Call{[=, &ops = w.ops()] {
                                     ops.distill->run({}, student, teacher, gradient, value,
                                                      workspace);
                                   },
                                   6 * student.whole().bytes()};
                     }});
  }
}

}  // namespace

void add_loss_cases(const Extents& extents, DType dtype, std::vector<OpCase>& cases) {
  add_losses(extents, dtype, cases);
  add_terms(extents, dtype, cases);
  add_distillation(extents, dtype, cases);
}

}  // namespace macadam::bench
