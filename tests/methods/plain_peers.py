"""The peers written out plainly, as references: on a CLIP tower's tokens x [B, T, 1 + N, D] before its first block."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, gelu, layer_norm, linear

from objadapt.methods.aim import AIMMethod
from objadapt.methods.evl import EVLMethod
from objadapt.methods.st_adapter import STAdapterMethod
from objadapt.methods.timesformer import TimeSformerMethod


def attention(block, normed: Tensor, frozen: bool = True) -> Tensor:
    """A ViT block's attention written out; [b, n, D] -> [b, n, D]."""
    weights = block.attn if frozen else block
    query, key, value = linear(normed, weights.in_proj_weight, weights.in_proj_bias).chunk(3, dim=-1)
    heads = [part.unflatten(-1, (weights.num_heads, -1)).transpose(1, 2) for part in (query, key, value)]
    scores = heads[0] @ heads[1].mT / heads[0].shape[-1] ** 0.5
    return weights.out_proj((scores.softmax(dim=-1) @ heads[2]).transpose(1, 2).flatten(2))


def st_adapter(method: STAdapterMethod, x: Tensor) -> Tensor:
    """As published: a convolution in three dimensions, [B, C, T, h, w]."""

    def adapt(x: Tensor, adapter: nn.Module) -> Tensor:
        grid = int((x.shape[2] - 1) ** 0.5)
        volume = adapter.down(x[:, :, 1:]).unflatten(2, (grid, grid)).permute(0, 4, 1, 2, 3)
        kernel = adapter.kernel.T[:, None, :, None, None]  # [C, 1, 3, 1, 1]
        volume = conv3d(volume, kernel, adapter.bias, padding=(1, 0, 0), groups=len(kernel))
        added = adapter.up(volume.permute(0, 2, 3, 4, 1).flatten(2, 3))
        return torch.cat([x[:, :, :1], x[:, :, 1:] + added], dim=2)

    for number, block in enumerate(method.encoder.model.transformer.resblocks):
        x = adapt(x, method.before_attention[number]) if len(method.before_attention) else x
        flat = x.flatten(0, 1)
        x = adapt((flat + attention(block, block.ln_1(flat))).view_as(x), method.before_mlp[number])
        x = x + block.mlp(block.ln_2(x))
    return method.encoder.model.ln_post(x[:, :, 0].mean(dim=1))


def aim(method: AIMMethod, x: Tensor) -> Tensor:
    def adapt(adapter: nn.Module, x: Tensor) -> Tensor:
        return linear(gelu(linear(x, adapter.down.weight, adapter.down.bias)), adapter.up.weight, adapter.up.bias)

    for number, block in enumerate(method.encoder.model.transformer.resblocks):
        for clip in range(len(x)):
            for place in range(x.shape[2]):
                line = attention(block, block.ln_1(x[clip, :, place])[None])[0]
                x = x.clone()
                x[clip, :, place] = x[clip, :, place] + adapt(method.temporal[number], line)
        space = torch.stack([attention(block, block.ln_1(clip)) for clip in x])
        x = x + space + adapt(method.spatial[number], space)
        normed = block.ln_2(x)
        x = x + block.mlp(normed) + 0.5 * adapt(method.joint[number], normed)
    return layer_norm(x[:, :, 0], x.shape[-1:], method.norm.weight, method.norm.bias).mean(dim=1)


def evl(method: EVLMethod, x: Tensor) -> Tensor:
    blocks, grid = method.encoder.model.transformer.resblocks, int((x.shape[2] - 1) ** 0.5)
    found = method.queries.expand(len(x), -1, -1)
    for number, block in enumerate(blocks):
        normed = block.ln_1(x)
        parts = linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
        query, key = (part[:, :, 1:].unflatten(-1, (4, 16)) for part in parts[:2])
        x = (x.flatten(0, 1) + attention(block, normed.flatten(0, 1))).view_as(x)
        x = x + block.mlp(block.ln_2(x))
        layer = number - (len(blocks) - len(method.decoder))
        if layer < 0:
            continue
        read = x.detach()
        filters = method.convolutions[layer]
        padded = torch.cat([torch.zeros_like(read[:, :1]), read, torch.zeros_like(read[:, :1])], dim=1)
        over_time = (
            sum(filters.weight[:, 0, step] * padded[:, step : step + x.shape[1]] for step in range(3)) + filters.bias
        )
        neighbours = torch.zeros_like(read)
        for t in range(x.shape[1]):
            for other, table in ((t - 1, method.neighbours[layer].before), (t + 1, method.neighbours[layer].after)):
                if not 0 <= other < x.shape[1]:
                    continue
                for q in range(grid * grid):
                    scores = torch.einsum("bhd,bkhd->bhk", query[:, t, q], key[:, other]) / 4  # sqrt(16)
                    weights = scores.softmax(dim=-1).mean(dim=1)  # [B, N]
                    for k in range(grid * grid):
                        rows, columns = q // grid - k // grid + grid - 1, q % grid - k % grid + grid - 1
                        vector = table[rows * (2 * grid - 1) + columns]
                        place = torch.zeros_like(read)
                        place[:, t, 1 + q] = weights[:, k, None].detach() * vector
                        neighbours = neighbours + place
        tokens = (read + over_time + method.time[layer][None] + neighbours).flatten(1, 2)
        decoder = method.decoder[layer]
        seen = decoder.norm_tokens(tokens)
        found = found + decoder.attention(decoder.norm_queries(found), seen, seen)[0]
        hidden = decoder.mlp[0](decoder.norm_mlp(found))
        found = found + decoder.mlp[3](hidden / (1 + torch.exp(-1.702 * hidden)))
    return method.norm(found[:, 0])


def timesformer(method: TimeSformerMethod, x: Tensor) -> Tensor:
    cls, patches = x[:, 0, :1], x[:, :, 1:] + method.time  # frames have the same cls before the first block
    for number, block in enumerate(method.encoder.model.transformer.resblocks):
        added = method.in_time[number]
        lines = [attention(added.attention, added.norm(patches[:, :, n]), False) for n in range(patches.shape[2])]
        patches = patches + added.linear(torch.stack(lines, dim=2))
        frames = [torch.cat([cls, patches[:, t]], dim=1) for t in range(x.shape[1])]
        seen = [attention(block, block.ln_1(frame)) for frame in frames]
        cls = cls + torch.stack([frame[:, :1] for frame in seen]).mean(dim=0)
        patches = patches + torch.stack([frame[:, 1:] for frame in seen], dim=1)
        cls, patches = (part + block.mlp(block.ln_2(part)) for part in (cls, patches))
    return method.encoder.model.ln_post(cls[:, 0])
