"""What `encoders.py` computes: small configurations of each family, and what PEFT puts on them."""

WIDTH, INNER, VOCAB, HEADS, BLOCKS, POSITIONS, CLASSES = 16, 24, 48, 4, 2, 12, 3
PADDING = 1

COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "max_position_embeddings": POSITIONS,
    "num_labels": CLASSES,
}
DISTILBERT = {
    "vocab_size": VOCAB,
    "dim": WIDTH,
    "n_layers": BLOCKS,
    "n_heads": HEADS,
    "hidden_dim": INNER,
    "max_position_embeddings": POSITIONS,
    "num_labels": CLASSES,
}
ROBERTA = COMMON | {
    "max_position_embeddings": POSITIONS + PADDING + 1,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": PADDING,
}
# The first block sees everything, the others two positions on either side.
MODERN_BERT = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "max_position_embeddings": POSITIONS,
    "num_labels": CLASSES,
    "local_attention": 4,
    **{"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2},
    **{"eos_token_id": 3, "sep_token_id": 3},
}
# Distances of three and more share rows by their logarithm.
DEBERTA = COMMON | {
    "layer_norm_eps": 1e-7,
    "type_vocab_size": 0,
    "relative_attention": True,
    "position_buckets": 4,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "pad_token_id": 0,
}
EVERYWHERE = [
    "query",
    "key",
    "value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
]

# name: (family, class that saves the base, configuration, PEFT's settings)
CASES = {
    # as MiniLM is published: the base alone, its names without a prefix
    "bert": (
        "Bert",
        "BertModel",
        COMMON,
        {"task_type": "SEQ_CLS", "target_modules": ["query", "value"]},
    ),
    # the head of the pre-training in the file, the tanh form of GELU, terms everywhere
    "bert-everywhere": (
        "Bert",
        "BertForPreTraining",
        COMMON | {"hidden_act": "gelu_new", "type_vocab_size": 3},
        {"task_type": "SEQ_CLS", "target_modules": [*EVERYWHERE, "pooler.dense"]},
    ),
    # a base with a head, which terms sit on and which stays as it is
    "bert-terms-on-the-head": (
        "Bert",
        "BertForSequenceClassification",
        COMMON,
        {"target_modules": ["query", "value", "classifier"]},
    ),
    # as RoBERTa is published: masked words, no pooler
    "roberta": (
        "Roberta",
        "RobertaForMaskedLM",
        ROBERTA,
        {"task_type": "SEQ_CLS", "target_modules": ["query", "value"]},
    ),
    "roberta-terms-on-the-head": (
        "Roberta",
        "RobertaForSequenceClassification",
        ROBERTA,
        {"target_modules": [*EVERYWHERE, "classifier.dense", "classifier.out_proj"]},
    ),
    "distilbert": (
        "DistilBert",
        "DistilBertForMaskedLM",
        DISTILBERT,
        {
            "task_type": "SEQ_CLS",
            "target_modules": ["q_lin", "v_lin"],
            "modules_to_save": ["pre_classifier", "classifier"],
        },
    ),
    "distilbert-everywhere": (
        "DistilBert",
        "DistilBertModel",
        DISTILBERT,
        {
            "task_type": "SEQ_CLS",
            "target_modules": ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"],
        },
    ),
    # as ModernBERT is published: masked words, whose head begins as the classification's does
    "modernbert": (
        "ModernBert",
        "ModernBertForMaskedLM",
        MODERN_BERT,
        {"task_type": "SEQ_CLS", "target_modules": ["Wqkv"]},
    ),
    # the mean of all tokens, biases everywhere, terms everywhere
    "modernbert-everywhere": (
        "ModernBert",
        "ModernBertForSequenceClassification",
        MODERN_BERT
        | {
            "classifier_pooling": "mean",
            "attention_bias": True,
            "mlp_bias": True,
            "norm_bias": True,
            "classifier_bias": True,
        },
        {
            "task_type": "SEQ_CLS",
            "target_modules": ["Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo", "head.dense"],
        },
    ),
    # as DeBERTa-v3 is published: no pooler, which PEFT saves when it is asked to
    "deberta": (
        "DebertaV2",
        "DebertaV2ForMaskedLM",
        DEBERTA,
        {
            "task_type": "SEQ_CLS",
            "target_modules": ["query_proj", "value_proj"],
            "modules_to_save": ["pooler.dense", "classifier"],
        },
    ),
    "deberta-everywhere": (
        "DebertaV2",
        "DebertaV2Model",
        DEBERTA | {"type_vocab_size": 2, "position_buckets": -1},
        {
            "task_type": "SEQ_CLS",
            "target_modules": [
                *["query_proj", "key_proj", "value_proj"],
                *["attention.output.dense", "intermediate.dense", "output.dense"],
            ],
            "modules_to_save": ["pooler.dense", "classifier"],
        },
    ),
    "deberta-terms-on-the-head": (
        "DebertaV2",
        "DebertaV2ForSequenceClassification",
        DEBERTA | {"pooler_hidden_act": "tanh"},
        {"target_modules": ["query_proj", "value_proj", "pooler.dense", "classifier"]},
    ),
    # a posterior over the terms, under fixed noise; the head is trained as a point
    "bert-blob": (
        "Bert",
        "BertModel",
        COMMON,
        {"task_type": "SEQ_CLS", "target_modules": ["query", "value"], "noise": "token"},
    ),
    "deberta-blob": (
        "DebertaV2",
        "DebertaV2ForMaskedLM",
        DEBERTA,
        {
            "task_type": "SEQ_CLS",
            "target_modules": ["query_proj", "key_proj", "value_proj"],
            "modules_to_save": ["pooler.dense", "classifier"],
            "noise": "token",
        },
    ),
}
