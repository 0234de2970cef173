#!/usr/bin/env python3
"""Makes ops/*.npy: what PyTorch computes for each op, to check the reference backend against.

Run it with a Python that has PyTorch and segmentation-models-pytorch (written with 0.6.0), which
nothing else needs:  python make_op_goldens.py
A file is a sequence of arrays, each as numpy.save writes it, in the order of the `save` call
below. All is computed in float64 from float32 inputs, and stored in float32. Tensors are NHWC,
convolution weights {K, kh, kw, C / groups}.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import FocalLoss, JaccardLoss, LovaszLoss, TverskyLoss

FOLDER = pathlib.Path(__file__).parent / "ops"
random = torch.Generator().manual_seed(20240229)


def save(name, *arrays):
    with open(FOLDER / f"{name}.npy", "wb") as file:
        for array in arrays:
            if isinstance(array, torch.Tensor):
                array = array.detach().numpy()
            array = np.ascontiguousarray(array)
            if array.dtype in (np.float64, np.float32):
                array = array.astype("<f4")
            elif array.dtype != np.uint8:
                array = array.astype("<i4")
            np.save(file, array)


def normal(*shape):
    """Standard normal values that float32 holds exactly, as float64."""
    return torch.randn(*shape, generator=random, dtype=torch.float32).double()


def nhwc(tensor):
    return tensor.detach().permute(0, 2, 3, 1)


def pad(x, padding, value=0.0):
    """padding: left, right, top, bottom."""
    return F.pad(x, padding, value=value)


def conv(name, n, h, w, c, k, kernel, stride=1, dilation=1, padding=(0, 0, 0, 0), groups=1):
    x = normal(n, c, h, w).requires_grad_()
    weight = normal(k, c // groups, *kernel).requires_grad_()
    bias = normal(k).requires_grad_()
    y = F.conv2d(pad(x, padding), weight, bias, stride=stride, dilation=dilation, groups=groups)
    dy = normal(*y.shape)
    y.backward(dy)
    attributes = np.array([n, h, w, c, k, *kernel, stride, dilation, *padding, groups])
    save(f"conv_{name}", attributes, nhwc(x), nhwc(weight), bias, nhwc(y), nhwc(dy), nhwc(x.grad),
         nhwc(weight.grad), bias.grad)


def batch_norm(name, n, h, w, c, eps, momentum, relu):
    x = (normal(n, c, h, w) * 2 + 1).float().double().requires_grad_()
    gamma, beta = normal(c).requires_grad_(), normal(c).requires_grad_()
    mean, var = normal(c), normal(c).abs() + 0.5
    var = var.float().double()
    new_mean, new_var = mean.clone(), var.clone()
    y = F.batch_norm(x, new_mean, new_var, gamma, beta, True, momentum, eps)
    inferred = F.batch_norm(x, mean, var, gamma, beta, False, momentum, eps)
    if relu:
        y, inferred = F.relu(y), F.relu(inferred)
    dy = normal(*y.shape)
    y.backward(dy)
    save(f"batch_norm_{name}", np.array([n, h, w, c, int(relu)]), np.array([eps, momentum]),
         nhwc(x), gamma, beta, mean, var, nhwc(y), new_mean, new_var, nhwc(inferred), nhwc(dy),
         nhwc(x.grad), gamma.grad, beta.grad)


def pool(name, n, h, w, c, kernel, stride, padding, ties=False):
    """`padding` is symmetric: (rows, columns)."""
    x = normal(n, c, h, w)
    if ties:
        x = x.round()
    x.requires_grad_()
    y, flat = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
    dy = normal(*y.shape)
    (dx,) = torch.autograd.grad(y, x, dy)
    rows = flat // w - (torch.arange(y.shape[2]) * stride[0] - padding[0])[:, None]
    columns = flat % w - (torch.arange(y.shape[3]) * stride[1] - padding[1])[None, :]
    index = (rows * kernel[1] + columns).to(torch.uint8)
    average = F.avg_pool2d(x, kernel, stride, padding, count_include_pad=False)
    (dx_average,) = torch.autograd.grad(average, x, dy)
    attributes = np.array([n, h, w, c, *kernel, *stride, *padding])
    save(f"pool_{name}", attributes, nhwc(x), nhwc(y), nhwc(index), nhwc(dy), nhwc(dx),
         nhwc(average), nhwc(dx_average))


def window(name, n, h, w, c, kernel, stride, padding):
    """Pooling in ceil_mode, and averages that count the padding. `padding` is symmetric: (rows,
    columns)."""
    x = normal(n, c, h, w).requires_grad_()
    results, dy = [], None
    for pooled in (F.max_pool2d(x, kernel, stride, padding, ceil_mode=True),
                   *(F.avg_pool2d(x, kernel, stride, padding, True, counted)
                     for counted in (False, True))):
        dy = normal(*pooled.shape) if dy is None else dy
        (dx,) = torch.autograd.grad(pooled, x, dy)
        results += [nhwc(pooled), nhwc(dx)]
    floored = F.avg_pool2d(x, kernel, stride, padding, False, True)
    attributes = np.array([n, h, w, c, *kernel, *stride, *padding])
    save(f"window_{name}", attributes, nhwc(x), nhwc(dy), *results, nhwc(floored))


def hard_activations():
    x = torch.linspace(-4, 4, 513).double()  # -3 and 3 among them
    x.requires_grad_()
    dy = normal(*x.shape)
    results = []
    for y in (F.hardswish(x), F.hardsigmoid(x)):
        (dx,) = torch.autograd.grad(y, x, dy)
        results += [y, dx]
    save("hard_activations", x, dy, *results)


def resize(name, n, h, w, c, out_h, out_w):
    x = normal(n, c, h, w).requires_grad_()
    dy = normal(n, c, out_h, out_w)
    results = []
    for mode in ({"mode": "nearest"}, {"mode": "bilinear", "align_corners": False}):
        y = F.interpolate(x, (out_h, out_w), **mode)
        (dx,) = torch.autograd.grad(y, x, dy)
        results += [nhwc(y), nhwc(dx)]
    save(f"resize_{name}", np.array([n, h, w, c, out_h, out_w]), nhwc(x), nhwc(dy), *results)


def random_labels(n, h, w, classes, ignore):
    labels = torch.randint(classes, (n, h, w), generator=random)
    labels[torch.rand(n, h, w, generator=random) < 0.2] = ignore
    return labels


def cross_entropy(name, n, h, w, c, weighted=False, smoothing=0.0, ignore=255):
    logits = (normal(n, c, h, w) * 3).float().double().requires_grad_()
    labels = random_labels(n, h, w, c, ignore)
    weights = (normal(c).abs() + 0.1).float().double() if weighted else torch.ones(c).double()
    loss = F.cross_entropy(logits, labels, weights, ignore_index=ignore,
                           label_smoothing=smoothing)
    loss.backward()
    save(f"cross_entropy_{name}", np.array([n, h, w, c, ignore]), np.array([smoothing]),
         nhwc(logits), labels.to(torch.uint8), weights, loss.reshape(1), nhwc(logits.grad))


def dice(name, n, h, w, c, absent, smooth):
    """Soft Dice written with PyTorch's operations; autograd gives the gradient. The two last
    classes have no labelled pixel. `absent`: 0 skip, 1 zero, 2 suppress."""
    logits = (normal(n, c, h, w) * 2).float().double().requires_grad_()
    labels = random_labels(n, h, w, c - 2, 255)
    valid = (labels != 255)[:, None]
    p = logits.softmax(1) * valid
    g = F.one_hot(labels.clamp(max=c - 1), c).permute(0, 3, 1, 2) * valid
    intersection, predicted, labelled = ((v).sum((0, 2, 3)) for v in (p * g, p, g))
    losses = 1 - (2 * intersection + smooth) / (predicted + labelled + smooth)
    present = labelled > 0
    loss = (losses[present].mean(), (losses * present).mean(), losses.mean())[absent]
    loss.backward()
    save(f"dice_{name}", np.array([n, h, w, c, absent]), np.array([smooth]), nhwc(logits),
         labels.to(torch.uint8), loss.reshape(1), nhwc(logits.grad))


def loss_term(name, parameters, loss_of):
    """loss_of(logits NCHW, labels NHW with 255 for ignored pixels); autograd gives the gradient. The
    last class has no labelled pixel: smp counts it as a loss of 0."""
    n, h, w, c = 2, 4, 5, 6
    logits = (normal(n, c, h, w) * 2).float().double().requires_grad_()
    labels = random_labels(n, h, w, c - 1, 255)
    loss = loss_of(logits, labels)
    loss.backward()
    save(f"loss_{name}", np.array([n, h, w, c]), np.array(parameters, np.float32), nhwc(logits),
         labels.to(torch.uint8), loss.reshape(1), nhwc(logits.grad))


def focal(gamma):
    def loss_of(logits, labels):
        ce = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
        return ((1 - torch.exp(-ce)) ** gamma * ce)[labels != 255].mean()
    return loss_of


def distill(name, n, h, w, c, weight, temperature):
    """Of channels: a softmax over the pixels of each."""
    student = (normal(n, c, h, w) * 2).requires_grad_()
    teacher = normal(n, c, h, w) * 3
    over_pixels = [(x / temperature).flatten(2) for x in (student, teacher)]
    q, p = (F.log_softmax(x, dim=2) for x in over_pixels)
    loss = weight * temperature ** 2 / (n * c) * F.kl_div(q, p, reduction="sum", log_target=True)
    loss.backward()
    save(f"distill_{name}", np.array([n, h, w, c]), np.array([weight, temperature]),
         nhwc(student), nhwc(teacher), loss.reshape(1), nhwc(student.grad))


def optimizer(name, make, settings):
    """Three steps on two parameters; the second has no weight decay."""
    start = [normal(70), normal(5)]
    gradients = [[normal(70), normal(5)] for _ in range(3)]
    parameters = [torch.nn.Parameter(p.clone()) for p in start]
    optim = make([{"params": [parameters[0]], "weight_decay": 0.1},
                  {"params": [parameters[1]], "weight_decay": 0.0}])
    after = []
    for step in gradients:
        for parameter, gradient in zip(parameters, step):
            parameter.grad = gradient.clone()
        optim.step()
        after.append(torch.cat([p.detach().clone() for p in parameters]))
    save(name, np.array(settings), torch.cat(start),
         torch.stack([torch.cat(g) for g in gradients]), torch.stack(after))


def main():
    FOLDER.mkdir(exist_ok=True)
    conv("plain", 2, 5, 7, 3, 4, (3, 3), padding=(1, 1, 1, 1))
    conv("pointwise", 1, 4, 5, 8, 5, (1, 1))
    conv("dilated", 1, 9, 8, 3, 4, (3, 3), dilation=2, padding=(2, 2, 2, 2))
    conv("grouped", 2, 5, 6, 6, 8, (3, 3), padding=(1, 1, 1, 1), groups=2)
    conv("depthwise", 1, 8, 9, 5, 5, (5, 3), stride=2, padding=(1, 1, 2, 2), groups=5)
    conv("asymmetric", 1, 8, 10, 3, 4, (3, 3), stride=2, padding=(0, 1, 2, 1))
    conv("dilated_groups_stride", 1, 11, 12, 4, 6, (3, 2), stride=2, dilation=3,
         padding=(3, 1, 0, 2), groups=2)

    batch_norm("plain", 2, 5, 7, 3, 1e-5, 0.1, False)
    batch_norm("relu", 3, 4, 5, 4, 1e-3, 0.01, True)

    pool("halve", 2, 5, 8, 3, (2, 2), (2, 2), (0, 0))
    pool("resnet", 1, 9, 8, 4, (3, 3), (2, 2), (1, 1))
    pool("ties", 2, 8, 9, 3, (3, 3), (2, 2), (1, 1), ties=True)
    pool("uneven", 1, 9, 10, 2, (4, 2), (1, 3), (2, 1))

    resize("double", 1, 4, 5, 3, 8, 10)
    resize("up", 1, 3, 5, 3, 7, 13)
    resize("down", 1, 12, 9, 2, 5, 4)
    resize("from_one", 1, 1, 1, 2, 3, 4)
    resize("eightfold", 1, 2, 3, 2, 16, 24)

    cross_entropy("plain", 2, 4, 5, 6)
    cross_entropy("weighted", 2, 4, 5, 6, weighted=True)
    cross_entropy("smoothed", 2, 4, 5, 6, smoothing=0.1)
    cross_entropy("ignored_class", 1, 5, 6, 5, weighted=True, ignore=2)

    dice("skip", 2, 4, 5, 6, 0, 1.0)
    dice("zero", 2, 4, 5, 6, 1, 0.0)
    dice("suppress", 2, 4, 5, 6, 2, 1e-2)

    optimizer("sgd", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), [0.1, 0.9, 0])
    optimizer("sgd_nesterov", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True),
              [0.05, 0.8, 1])
    optimizer("adamw", lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6),
              [0.01, 0.8, 0.95, 1e-6])

    window("halve", 2, 5, 9, 3, (2, 2), (2, 2), (0, 0))
    window("even", 1, 8, 10, 2, (3, 3), (2, 2), (0, 0))
    window("resnet", 1, 8, 11, 4, (3, 3), (2, 2), (1, 1))
    window("dropped", 1, 4, 5, 2, (2, 2), (3, 2), (1, 1))
    window("uneven", 1, 9, 10, 2, (4, 2), (3, 3), (2, 1))

    hard_activations()

    loss_term("focal", [2], focal(2))
    loss_term("jaccard", [0.5], JaccardLoss("multiclass", smooth=0.5, ignore_index=255))
    loss_term("tversky", [0.25, 0.75, 0.125],
              TverskyLoss("multiclass", smooth=0.125, alpha=0.25, beta=0.75, ignore_index=255))
    loss_term("focal_ovr", [1.5], FocalLoss("multiclass", gamma=1.5, ignore_index=255))
    lovasz = LovaszLoss("multiclass", ignore_index=255)
    loss_term("lovasz", [0], lambda logits, labels: lovasz(logits.float(), labels).double())

    distill("soft", 2, 4, 5, 6, 3.0, 4.0)
    distill("hard", 1, 5, 3, 4, 0.5, 1.0)


if __name__ == "__main__":
    main()
